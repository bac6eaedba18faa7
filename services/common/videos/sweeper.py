"""The sweeper: publishes what a crash left owed, moves on videos whose events the stream has lost, ends deletions.

Any number may run at once: publishing is deduplicated by event id, and handlers find done work done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from nats.errors import Error as NatsError
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.videos.store import VideoStore

log = structlog.get_logger()

REPUBLISHED = Counter("earmark_sweeper_events_republished_total", "Events that had stayed owed.")
NUDGED = Counter("earmark_sweeper_videos_nudged_total", "Stalled videos whose events were sent again.")


class Sweeper:
    """Looks after the outbox and after stalled videos.

    Args:
        store: The documents.
        bus: The stream, to tell a stall from a backlog.
        every_seconds: Time between two looks.
        owed_seconds: Age from which an owed event is taken for forgotten.
        stalled_seconds: Time without a change from which a video is looked at.
        chores: What else is to be done at each look.
    """

    def __init__(
        self,
        store: VideoStore,
        bus: EventBus,
        *,
        every_seconds: float,
        owed_seconds: float,
        stalled_seconds: float,
        chores: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._store = store
        self._bus = bus
        self._every = every_seconds
        self._owed = owed_seconds
        self._stalled = stalled_seconds
        self._chores = [self.sweep, *chores]

    async def run(self) -> None:
        """Sweeps for ever; a sweep that fails is logged and tried again at the next turn."""
        while True:
            for chore in self._chores:
                try:
                    await chore()
                except (PyMongoError, NatsError, TimeoutError) as error:
                    log.warning("sweep_failed", error=repr(error))
            await asyncio.sleep(self._every)

    async def sweep(self) -> None:
        """Sweeps once."""
        if count := await self._store.publish_owed(older_than_seconds=self._owed):
            REPUBLISHED.inc(count)
            log.info("events_republished", count=count)
        if count := await self._store.purge_due():
            log.info("videos_purged", count=count)
        stalled = await self._store.stalled(older_than_seconds=self._stalled)
        # A backlog is not a stall: while anything waits in the queues, the video may just be waiting its turn.
        if len(stalled) > 0 and not await self._waiting():
            for video in stalled:
                await self._store.nudge(video)
                NUDGED.inc()
                log.warning("video_nudged", video_id=video.video_id, status=video.status)

    async def _waiting(self) -> bool:
        """Says whether anything waits that moves videos on."""
        backlog = await self._bus.backlog()
        return any(count for name, count in backlog.items() if name not in topology.ASIDE)
