"""Election of one leader through a Lease, by the rules of client-go's leader election.

    follow ──▶ nobody has renewed it for its duration ──▶ take it (only one can: the version decides) ──▶ lead
      ▲                                                                                                    │
      └── work ended ◀── renew deadline passed, or somebody else has it ◀── renew, again and again ◀────────┘

Whose clock is right does not matter: nobody compares the times written in the lease with a clock of its own. A follower
waits until *it* has seen the same lease unchanged for its duration; the leader stops once *its* last renewal that
succeeded, counted from before it was sent, is older than the renew deadline. That is shorter than the duration, and the
difference is the time the work has to end. Only clocks that run at different speeds matter, up to that difference.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Gauge

from services.common.tasks import cancel
from services.gateway.kube.api import LEASES, Json, Kind, KubeApi, KubeError
from services.gateway.leadership import Work

log = structlog.get_logger()

_CONFLICT = 409
_RELEASE_SECONDS = 0.8

LEADS = Gauge("earmark_gateway_leads", "1 while this gateway does the work that one of them is enough for.")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease holds.

    Attributes:
        duration_seconds: Time after which followers take a lease that nobody renews. Whole seconds, as a Lease has it.
        renew_deadline_seconds: Time without a renewal after which the leader stops.
        retry_seconds: Time between two renewals, or two looks.
    """

    duration_seconds: int
    renew_deadline_seconds: float
    retry_seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds < self.renew_deadline_seconds < self.duration_seconds:
            raise ValueError("a lease needs: time between renewals < renew deadline < duration")

    @classmethod
    def of(cls, duration_seconds: int) -> Timing:
        """Gives the usual proportions: those of Kubernetes' own controllers (15, 10 and 2 s)."""
        return cls(duration_seconds, duration_seconds * 2 / 3, duration_seconds * 2 / 15)


class LeaseLeadership:
    """Leads while it holds a Lease.

    Args:
        api: The Kubernetes API.
        name: Name of the Lease.
        identity: Who this is; no two processes have the same.
        timing: How long a lease holds.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        api: KubeApi,
        *,
        name: str,
        identity: str,
        timing: Timing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._name = name
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0
        self._away = False
        self.leads = False
        """Whether this process leads."""

    async def lead(self, work: Work) -> None:
        """Runs `work` whenever, and only as long as, this process holds the lease; for ever."""
        while True:
            renewed_at = await self._acquire()
            log.info("leadership_taken", lease=self._name, identity=self._identity)
            await self._lead(work, renewed_at)
            log.warning("leadership_lost", lease=self._name, identity=self._identity)

    async def _lead(self, work: Work, renewed_at: float) -> None:
        """Runs `work` until the lease is lost."""
        task = asyncio.ensure_future(work())
        self.leads = True
        LEADS.set(1)
        try:
            while self._clock() - renewed_at < self._timing.renew_deadline_seconds:
                left = self._timing.renew_deadline_seconds - (self._clock() - renewed_at)
                await asyncio.wait({task}, timeout=min(self._pause(), left))
                if task.done():
                    task.result()
                    raise RuntimeError("the work of a leader never ends by itself")
                asked_at = self._clock()
                left = self._timing.renew_deadline_seconds - (asked_at - renewed_at)
                # So that one request that hangs does not take the time in which another could succeed.
                held = await self._renew(within_seconds=min(left, self._timing.renew_deadline_seconds / 2))
                if held is False:
                    return
                if held:
                    renewed_at = asked_at
        finally:
            self.leads = False
            LEADS.set(0)
            await cancel([task])
            # Only now: whoever takes it next must not find the work going on here.
            await self._release()

    async def _acquire(self) -> float:
        """Waits until the lease is this process's, and gives when it was asked for."""
        while True:
            asked_at = self._clock()
            if await self._renew(within_seconds=self._timing.renew_deadline_seconds):
                return asked_at
            await asyncio.sleep(self._pause())

    async def _renew(self, *, within_seconds: float) -> bool | None:
        """Takes or renews the lease; False when somebody else has it, None when that could not be done or found out."""
        try:
            async with asyncio.timeout(max(within_seconds, 0.0)):
                held = await self._try()
        except (KubeError, TimeoutError) as error:
            if not self._away:
                log.warning("lease_not_renewed", lease=self._name, error=str(error) or repr(error))
            self._away = True
            return None
        self._away = False
        return held

    async def _try(self) -> bool | None:
        lease = await self._api.get(LEASES, self._name)
        if lease is None:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
            return await self._write(self._api.create, {**body, "spec": self._spec({})})
        spec = lease.get("spec") or {}
        record = (spec.get("holderIdentity"), spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity:
            duration = spec.get("leaseDurationSeconds") or self._timing.duration_seconds
            if self._clock() - self._seen_at < duration:
                return False
        # With the version that was read: of several that try now, the server lets one.
        return await self._write(self._api.replace, {**lease, "spec": self._spec(spec)})

    async def _write(self, write: Callable[[Kind, Json], Awaitable[Json]], body: Json) -> bool | None:
        """Writes the lease; None when somebody has changed it since it was read. Who that was is seen next time."""
        try:
            await write(LEASES, body)
        except KubeError as error:
            if error.status == _CONFLICT:
                return None
            raise
        return True

    def _spec(self, before: Json) -> Json:
        now = micro_time(dt.datetime.now(dt.UTC))
        mine = before.get("holderIdentity") == self._identity
        return {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.duration_seconds,
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (not mine),
        }

    async def _release(self) -> None:
        """Gives the lease back, if it is still this process's, so that nobody has to wait for it to run out."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = await self._api.get(LEASES, self._name)
                if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                    return
                spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._write(self._api.replace, {**lease, "spec": spec})
        except (KubeError, TimeoutError) as error:
            log.info("lease_not_given_back", lease=self._name, error=str(error) or repr(error))

    def _pause(self) -> float:
        return self._timing.retry_seconds * random.uniform(0.8, 1.2)


def micro_time(at: dt.datetime) -> str:
    """Writes a time as the API takes it in a Lease: always with six digits after the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
