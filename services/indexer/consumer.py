"""Follows the stream: what was embedded becomes searchable, what was deleted goes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError

from services.common.errors import EarmarkError, InvalidArgument, VideoNotFound
from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.events.follower import FollowedEvent, Follower
from services.common.videos.model import ChunkRecord, Video, VideoStatus
from services.common.videos.store import VideoStore
from services.indexer.chunks import Change, RemoveVideo
from services.indexer.indexing import Indexing
from services.indexer.rebuild import rebuild
from services.indexer.records import INDEXABLE, replace_slice
from services.indexer.replica import Replica

log = structlog.get_logger()

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 5.0


class StreamLost(Exception):
    """The stream no longer holds what follows the replica's place: only a restart, with a rebuild, helps."""


async def stream_identity(bus: EventBus) -> str:
    """Gives what tells the event stream from one made anew under its name, which would count from 1 again."""
    created = (await bus.js.stream_info(topology.EVENTS)).created
    return created.isoformat() if created is not None else ""


class StreamFollower:
    """Opens the replica, then applies the events of its slots in the stream's order, each replica by itself.

    Events come in batches as large as what waits: one event is searchable at once, a burst costs one commit.

    Args:
        bus: The stream.
        videos: The documents the events are about.
        replica: What is kept up to date.
        identity: The stream's identity when this process started.
    """

    def __init__(self, *, bus: EventBus, videos: VideoStore, replica: Replica, identity: str) -> None:
        self._bus = bus
        self._videos = videos
        self._replica = replica
        self._identity = identity
        self._indexing = Indexing(replica=replica, videos=videos)
        self._follower: Follower | None = None

    @property
    def lag(self) -> int:
        """Events of the slots not yet applied, as of the last batch."""
        return self._follower.lag if self._follower is not None else 0

    async def caught_up(self) -> bool:
        """Whether all that was in the stream at the start is applied."""
        if self._follower is not None and self._follower.caught_up and not self._replica.ready:
            self._replica.ready = True
            shard = self._replica.shard
            log.info(
                "shard_ready",
                shard=self._replica.place.shard,
                replica=self._replica.place.replica,
                origin=self._replica.origin,
                chunks=shard.chunk_count,
                applied_sequence=shard.applied_sequence,
            )
        return self._replica.ready

    async def run(self) -> None:
        """Opens the replica and follows for ever."""
        await _persist(self._open, "index_not_opened")
        sequence = self._replica.shard.applied_sequence
        self._follower = Follower(self._bus, slots=self._replica.place.slots, after_sequence=sequence)
        async for batch in self._follower.batches():
            await _persist(lambda batch=batch: self._apply(batch), "events_not_applied")  # type: ignore[misc]

    async def keep_place(self, *, every_seconds: float) -> None:
        """Takes over, now and then, how far the stream has been seen, and checks that it is still the same stream.

        Raises:
            StreamLost: It is not.
        """
        while True:
            await asyncio.sleep(every_seconds)
            if self._follower is None or not self._bus.connected:
                continue
            place = self._follower.sequence
            try:
                identity, first, last = (
                    await stream_identity(self._bus),
                    await self._bus.first_sequence(),
                    await self._bus.last_sequence(),
                )
            except (NatsError, TimeoutError) as error:
                log.warning("stream_not_checked", error=repr(error))
                continue
            if identity != self._identity or not first - 1 <= max(place, self._follower.sequence) or place > last:
                raise StreamLost(f"this shard is at {place}, the stream made at {identity} holds {first} to {last}")
            await self._replica.advance(place)

    async def _open(self) -> None:
        if await self._replica.restore():
            place = self._replica.shard.applied_sequence
            first, last = await self._bus.first_sequence(), await self._bus.last_sequence()
            if first - 1 <= place <= last:
                return
            log.warning("stream_does_not_continue_snapshot", applied_sequence=place, first=first, last=last)
        await rebuild(replica=self._replica, indexing=self._indexing, videos=self._videos, bus=self._bus)

    async def _apply(self, batch: Sequence[FollowedEvent]) -> None:
        wanted: dict[str, set[str]] = defaultdict(set)
        for event in batch:
            if event.kind == "slice.embedded":
                wanted[_fields(event).video_id].add(_fields(event).slice_id)
        read = {video_id: await self._read(video_id, slices) for video_id, slices in wanted.items()}
        changes: list[tuple[Change, Video | None]] = []
        for event in batch:
            video_id = _fields(event).video_id
            video, records = read.get(video_id, (None, []))
            if event.kind == "video.deleted" or video is None:
                changes.append((RemoveVideo(video_id), None))
                continue
            slice_id = _fields(event).slice_id
            part = video.slice(slice_id)
            # In another state it failed since, or is done again: then another event comes.
            if records is None or part is None or part.state not in INDEXABLE:
                continue
            try:
                changes.append((replace_slice(video, slice_id, records), video))
            except EarmarkError as error:
                await self._indexing.refuse(video, slice_id, error)
        await self._indexing.apply(changes)
        await self._replica.advance(batch[-1].sequence)

    async def _read(self, video_id: str, slices: set[str]) -> tuple[Video | None, list[ChunkRecord] | None]:
        """Reads a video and its chunks; no video when it is gone or going, no chunks when they are not readable."""
        try:
            video = await self._videos.get(video_id)
        except VideoNotFound:
            return None, []
        if video.status is VideoStatus.DELETING:
            return None, []
        only = next(iter(slices)) if len(slices) == 1 else None
        try:
            return video, await self._videos.chunks(video_id, only)
        except (ValueError, KeyError, TypeError) as error:  # what is stored is not chunks; other videos must go on
            for slice_id in slices:
                message = f"the stored chunks of the slice cannot be read ({type(error).__name__})"
                await self._indexing.refuse(video, slice_id, InvalidArgument(message, reason="CHUNKS_UNREADABLE"))
            return video, None


async def _persist(work: Callable[[], Awaitable[T]], event: str) -> T:
    """Does `work` until it is done: MongoDB, NATS or the disk may be away for a while, and order must be kept."""
    pause = 0.1
    while True:
        try:
            return await work()
        except* (PyMongoError, NatsError, TimeoutError, ConnectionError) as errors:
            log.warning(event, error=repr(errors.exceptions[0]), again_in_seconds=pause)
        except* EarmarkError as errors:
            if not all(error.transient for error in errors.exceptions if isinstance(error, EarmarkError)):
                raise
            log.warning(event, error=repr(errors.exceptions[0]), again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _fields(event: FollowedEvent) -> Any:
    return event.message
