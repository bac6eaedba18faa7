"""Asks one replica of every shard, and makes the slow and the failing ones matter little.

Hedging after the usual latency, within a budget, is from Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass

from prometheus_client import Counter

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError
from services.gateway.directory import Replica, ShardDirectory

_OBSERVED = 512
_RECOMPUTE_EVERY = 32
_HEDGE_QUANTILE = 0.95
_HEDGE_SHARE = 0.1
_HEDGE_BURST = 10.0
# Errors that say something about the replica, not about the request.
_REPLICA_FAULTS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})
# Another replica of the shard may well answer; the request itself is idempotent.
_WORTH_ANOTHER = frozenset({"UNAVAILABLE"})


HEDGED = Counter("earmark_gateway_shard_hedges_total", "Searches a second replica was asked for, the first being slow.")
RETRIED = Counter("earmark_gateway_shard_retries_total", "Searches a second replica was asked for, the first failing.")
MISSING = Counter("earmark_gateway_shards_missing_total", "Shards that did not answer a search.", ["reason"])


@dataclass(frozen=True, slots=True)
class Missing:
    """A shard that did not answer."""

    shard: int
    reason: str
    """gRPC status name."""


@dataclass(frozen=True, slots=True)
class ShardAnswers:
    """What the shards said."""

    responses: list[pb.SearchShardResponse]
    missing: list[Missing]


class HedgeDelay:
    """How long to wait before asking a second replica: what 95 % of the searches took lately.

    Hedges are held to a tenth of the searches, so that a shard that is slow because it is overloaded does not get
    twice the load.
    """

    def __init__(self, *, initial_seconds: float = 0.05, floor_seconds: float = 0.005) -> None:
        self._floor = floor_seconds
        self._delay = initial_seconds
        self._latencies: deque[float] = deque(maxlen=_OBSERVED)
        self._observed = 0
        self._budget = _HEDGE_BURST

    @property
    def seconds(self) -> float:
        """The delay."""
        return self._delay

    def observe(self, seconds: float) -> None:
        """Notes how long a search took."""
        self._latencies.append(seconds)
        self._observed += 1
        if self._observed % _RECOMPUTE_EVERY == 0:
            ordered = sorted(self._latencies)
            self._delay = max(ordered[int(_HEDGE_QUANTILE * (len(ordered) - 1))], self._floor)

    def asked(self) -> None:
        """Notes a search, which earns a tenth of a hedge."""
        self._budget = min(self._budget + _HEDGE_SHARE, _HEDGE_BURST)

    def take(self) -> bool:
        """Takes a hedge out of the budget; False when there is none left."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True


class Fanout:
    """Scatter and gather over the shards."""

    def __init__(self, *, directory: ShardDirectory, hedge: HedgeDelay | None = None) -> None:
        self._directory = directory
        self._hedge = hedge or HedgeDelay()
        self.hedges = 0
        self.retries = 0

    async def search(self, request: pb.SearchShardRequest, *, deadline: float) -> ShardAnswers:
        """Searches every shard.

        Args:
            request: What every shard is asked.
            deadline: `time.monotonic()` after which a shard counts as missing.

        Returns:
            The answers, and the shards without one; never raises because of a shard.
        """
        shards = self._directory.shards
        outcomes = await asyncio.gather(*(self._ask(shard, request, deadline) for shard in shards))
        responses: list[pb.SearchShardResponse] = []
        missing: list[Missing] = []
        for shard, outcome in zip(shards, outcomes, strict=True):
            if isinstance(outcome, str):
                missing.append(Missing(shard, outcome))
                MISSING.labels(outcome).inc()
            else:
                responses.append(outcome)
        return ShardAnswers(responses, missing)

    async def _ask(self, shard: int, request: pb.SearchShardRequest, deadline: float) -> pb.SearchShardResponse | str:
        """Gives the shard's answer, or the gRPC status name that stands for why there is none."""
        first = self._directory.pick(shard)
        if first is None:
            return "UNAVAILABLE"
        self._hedge.asked()
        try:
            if len(self._directory.replicas(shard)) == 1:
                return await self._call(first, request, deadline)
            return await self._call_hedged(first, request, deadline)
        except EarmarkError as error:
            return error.code

    async def _call(self, replica: Replica, request: pb.SearchShardRequest, deadline: float) -> pb.SearchShardResponse:
        started = time.monotonic()
        replica.outstanding += 1
        try:
            response = await replica.client.search(request, timeout=max(deadline - started, 0.001))
        except EarmarkError as error:
            if error.code in _REPLICA_FAULTS:
                replica.failed()
            raise
        finally:
            replica.outstanding -= 1
        replica.succeeded()
        self._hedge.observe(time.monotonic() - started)
        return response

    async def _call_hedged(
        self, first: Replica, request: pb.SearchShardRequest, deadline: float
    ) -> pb.SearchShardResponse:
        """Asks `first`; a second replica too when the first is slow, or at once when it fails."""
        asked = [first]
        running = {asyncio.ensure_future(self._call(first, request, deadline))}
        last_error: EarmarkError | None = None
        try:
            while running:
                alone = len(asked) == 1
                done, running = await asyncio.wait(
                    running,
                    timeout=self._hedge.seconds if alone else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                worth_another = not done and alone
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, EarmarkError):
                        raise error
                    last_error = error
                    worth_another = alone and error.code in _WORTH_ANOTHER
                if worth_another and (second := self._second(first, hedging=not done)) is not None:
                    asked.append(second)
                    running.add(asyncio.ensure_future(self._call(second, request, deadline)))
                elif alone and running:
                    # Nobody to hedge with: only the first can answer now.
                    return await next(iter(running))
        finally:
            for task in running:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, EarmarkError):
                    await task
        assert last_error is not None, "every call either answered or raised"
        raise last_error

    def _second(self, first: Replica, *, hedging: bool) -> Replica | None:
        second = self._directory.pick(first.shard, without=(first,))
        if second is None or second.ejected or (hedging and not self._hedge.take()):
            return None
        if hedging:
            self.hedges += 1
            HEDGED.inc()
        else:
            self.retries += 1
            RETRIED.inc()
        return second
