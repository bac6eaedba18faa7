"""A copy of some objects of the Kubernetes API, kept up to date by watching: what client-go calls a reflector.

    list ──▶ watch ──▶ (ends, as it does every minute) ──▶ watch from the last version seen
      ▲        │ broke off, server away: wait, longer each time ──▶ watch from the last version seen
      │        │ 410: that version is not kept any more
      ├────────┤ now and then: resync
      │        ▼
      └── list anew, from the newest version

While the server is away, slow, or behind what was seen already, the copy stays as it was last.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable

import structlog
from prometheus_client import Counter, Gauge

from services.gateway.kube.api import Json, Kind, KubeApi, KubeError

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
LIVED_SECONDS = 5.0
"""Time after which a watch that ends is no failure to begin with."""
WATCH_SECONDS = 60
"""Time a watch lasts at most: so long a connection that died unnoticed goes unnoticed."""
RESYNC_SECONDS = 300.0

LISTED = Counter("earmark_gateway_kube_lists_total", "Lists read from the Kubernetes API.", ["kind"])
BROKEN = Counter("earmark_gateway_kube_failures_total", "Lists and watches that failed.", ["kind"])
SYNCED = Gauge("earmark_gateway_kube_synced", "1 while the copy follows the Kubernetes API.", ["kind"])


class Mirror:
    """The objects of a kind behind a label selector.

    Args:
        api: The Kubernetes API.
        kind: Kind of the objects.
        labels: Selects them.
        changed: Called with all objects when they may be others than before.
        resync_seconds: Time after which they are listed again, in case an event was lost.
        longest_pause_seconds: Time between two tries, at most.
    """

    def __init__(
        self,
        api: KubeApi,
        kind: Kind,
        *,
        labels: str,
        changed: Callable[[Iterable[Json]], None],
        resync_seconds: float = RESYNC_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._api = api
        self._kind = kind
        self._labels = labels
        self._changed = changed
        self._resync = resync_seconds
        self._longest = longest_pause_seconds
        self._objects: dict[str, Json] = {}
        self._version = ""
        self._list_again_at = 0.0
        self._newest = True
        self.synced = False
        """Whether the objects have been listed since the start."""

    async def run(self) -> None:
        """Keeps the copy up to date, for ever."""
        pause = FIRST_PAUSE_SECONDS
        away = False
        while True:
            begun, before = time.monotonic(), self._version
            try:
                if not self._version or time.monotonic() >= self._list_again_at:
                    await self._list()
                    before = self._version
                if away:
                    log.info("kubernetes_follows_again", kind=self._kind.plural)
                away = False
                SYNCED.labels(self._kind.plural).set(1)
                await self._watch()
            except KubeError as error:
                BROKEN.labels(self._kind.plural).inc()
                if error.gone:
                    # Not an outage: the server has forgotten this version, or has come back from before it.
                    log.info("kubernetes_listed_anew", kind=self._kind.plural, message=error.message)
                    self._version, self._newest = "", True
                elif not away:
                    log.warning("kubernetes_away", kind=self._kind.plural, message=error.message)
                    away = True
                    SYNCED.labels(self._kind.plural).set(0)
            if time.monotonic() - begun >= LIVED_SECONDS or (self._version and self._version != before):
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, self._longest)

    async def _list(self) -> None:
        listed = await self._api.list(
            self._kind, labels=self._labels, not_older_than="" if self._newest else self._version
        )
        LISTED.labels(self._kind.plural).inc()
        self._objects = {_name(item): item for item in listed.get("items") or ()}
        self._version = listed["metadata"]["resourceVersion"]
        self._newest = False
        self._list_again_at = time.monotonic() + self._resync * random.uniform(0.8, 1.2)
        self.synced = True
        self._changed(self._objects.values())

    async def _watch(self) -> None:
        seconds = max(1, int(min(WATCH_SECONDS, self._resync) * random.uniform(0.75, 1.0)))
        async for event in self._api.watch(self._kind, labels=self._labels, since=self._version, seconds=seconds):
            item = event["object"]
            self._version = item["metadata"]["resourceVersion"]
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    self._objects[_name(item)] = item
                case "DELETED":
                    self._objects.pop(_name(item), None)
                case _:  # a bookmark says how far the server is, and of no object
                    continue
            self._changed(self._objects.values())


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])
