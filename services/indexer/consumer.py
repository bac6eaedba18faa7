"""Follows the stream and the slot table: what was embedded becomes searchable, what was deleted goes, slots move."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import structlog
from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError

from services.common.errors import EarmarkError, InvalidArgument, VideoNotFound
from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.events.follower import FollowedEvent, Follower
from services.common.ids import SLOTS, slot_of
from services.common.slots import SlotTable, SlotTables
from services.common.tasks import cancel
from services.common.videos.model import ChunkRecord, Video, VideoStatus
from services.common.videos.store import VideoStore
from services.indexer.chunks import Change, DescribeVideo, DropSlots, RemoveVideo
from services.indexer.fill import Filling
from services.indexer.indexing import Indexing
from services.indexer.records import INDEXABLE, replace_all, replace_slice, video_info
from services.indexer.remote import RemoteSnapshots
from services.indexer.replica import Replica
from services.indexer.snapshot import Loaded

log = structlog.get_logger()

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 5.0
_COUNT_SECONDS = 0.1


class StreamLost(Exception):
    """The stream no longer holds what follows the replica's place: only a restart, with a rebuild, helps."""


async def stream_identity(bus: EventBus) -> str:
    """Gives what tells the event stream from one made anew under its name, which would count from 1 again."""
    created = (await bus.js.stream_info(topology.EVENTS)).created
    return created.isoformat() if created is not None else ""


class StreamFollower:
    """Opens the replica, then applies the events of its slots in the stream's order, each replica by itself.

    Events come in batches as large as what waits: one is searchable at once, a burst costs one change of the view.
    Between two batches, slots that came are filled, slots that went are dropped, and the index is built anew if asked.

    Args:
        bus: The stream.
        videos: The documents the events are about.
        tables: The slot table.
        replica: What is kept up to date.
        remote: Its snapshots in the object store; None where there are none.
        identity: The stream's identity when this process started.
        shards: Shards that a slot table made here has.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        videos: VideoStore,
        tables: SlotTables,
        replica: Replica,
        remote: RemoteSnapshots | None,
        identity: str,
        shards: int,
    ) -> None:
        self._bus = bus
        self._videos = videos
        self._tables = tables
        self._replica = replica
        self._remote = remote
        self._identity = identity
        self._shards = shards
        self._indexing = Indexing(videos=videos)
        self._follower: Follower | None = None
        self._table: SlotTable | None = None

    async def caught_up(self) -> bool:
        """Whether all that was in the stream at the start is applied."""
        replica, follower = self._replica, self._follower
        if follower is not None and follower.caught_up and not replica.ready:
            replica.ready = True
            log.info(
                "shard_ready",
                shard=replica.place.shard,
                replica=replica.place.replica,
                origin=replica.origin,
                slots=len(replica.slots),
                chunks=replica.shard.chunk_count,
                applied_sequence=replica.shard.applied_sequence,
            )
        return replica.ready

    async def run(self) -> None:
        """Opens the replica and follows for ever."""
        await persist(self._open, "index_not_opened")
        while True:
            await self._while_behind(lambda: persist(self._reconcile, "slots_not_moved"))
            sequence = self._replica.shard.applied_sequence
            self._follower = Follower(self._bus, slots=self._replica.slots, after_sequence=sequence)
            async with aclosing(self._follower.batches()) as batches:
                async for batch in batches:
                    await persist(lambda batch=batch: self._apply(batch), "events_not_applied")  # type: ignore[misc]
                    table, wanted = self._table, self._wanted()
                    if wanted != self._replica.slots or self._replica.rebuild_asked:
                        break
                    self._note(table)

    async def _while_behind(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does work that lets events wait, and says how many do: all of the stream's, since nobody sorts them."""

        async def count() -> None:
            while True:
                await asyncio.sleep(_COUNT_SECONDS)
                with contextlib.suppress(NatsError, TimeoutError, ConnectionError):
                    waiting = await self._bus.last_sequence() - self._replica.shard.applied_sequence
                    self._replica.lag = max(self._replica.lag, waiting)

        counting = asyncio.ensure_future(count())
        try:
            await work()
        finally:
            await cancel([counting])

    async def watch_slots(self, *, every_seconds: float) -> None:
        """Reads the slot table again and again."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                self._table = await self._tables.load() or self._table
            except PyMongoError as error:
                log.warning("slot_table_not_read", error=repr(error))

    async def keep_place(self, *, every_seconds: float) -> None:
        """Checks, now and then, that it is still the same stream, and that it still holds what comes next.

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

    # ── opening, filling, moving ─────────────────────────────────────────────────────────────────

    def _wanted(self) -> frozenset[int]:
        return self._table.held_by(self._replica.place.shard) if self._table is not None else frozenset()

    async def _open(self) -> None:
        self._table = await self._tables.load_or_create(self._shards)
        loaded = await self._replica.restore()
        if loaded is None and self._remote is not None and await self._remote.fetch():
            loaded = await self._replica.restore()
            self._replica.origin = "object_store"
        if loaded is not None:
            place = loaded.shard.applied_sequence
            first, last = await self._bus.first_sequence(), await self._bus.last_sequence()
            if first - 1 <= place <= last:
                # What came with a filling that broke off is of slots that are not held.
                await self._replica.apply([DropSlots(frozenset(range(SLOTS)) - loaded.slots)])
                await self._mend(loaded)
                return
            log.warning("stream_does_not_continue_snapshot", applied_sequence=place, first=first, last=last)
        self._replica.begin_anew()
        self._replica.origin = "empty"

    async def _mend(self, loaded: Loaded) -> None:
        """Fills in what a damaged segment held, and what an earlier version did not know."""
        for video_id in sorted(loaded.damaged | loaded.undescribed):
            if slot_of(video_id) not in loaded.slots:
                continue  # of a filling that broke off; it begins again
            video, records = await self._read(video_id, set())
            if video is None or records is None:
                await self._replica.apply([RemoveVideo(video_id)])
                continue
            changes: list[Change] = [DescribeVideo(video_id, video_info(video))]
            if video_id in loaded.damaged:
                changes += replace_all(video, records)
            await self._replica.apply(changes)
        if loaded.damaged:
            log.warning("index_repaired", videos=len(loaded.damaged), repaired=loaded.repaired)
        self._replica.repaired_all()

    async def _reconcile(self) -> None:
        """Brings what is held to what the slot table wants, and builds anew if that is asked."""
        replica, table, wanted = self._replica, self._table, self._wanted()
        if replica.rebuild_asked:
            await self._rebuild(wanted)
        if gone := replica.slots - wanted:
            replica.filling = True
            replica.hold(replica.slots - gone)  # first, so that no search is answered for half a slot
            await replica.apply([DropSlots(gone)])
        if new := wanted - replica.slots:
            replica.filling = True
            await self._fill(new)
        replica.filling = False
        self._note(table)  # the one that was looked at: there may be a newer one by now
        if gone or new:
            log.info("slots_changed", held=len(replica.slots), came=len(new), went=len(gone))
            await replica.snapshot()

    def _note(self, table: SlotTable | None) -> None:
        """Says that what is held is as a version of the table wants it."""
        if table is not None:
            self._replica.slot_table_version, self._replica.shards_total = table.version, table.shards

    async def _fill(self, slots: frozenset[int]) -> None:
        """Fills slots that are not held yet.

        The stream's end is taken before the first document is read: what happens to a document later is in an event
        yet to be followed, and what the document already shows by then is only done twice.
        """
        replica = self._replica
        first_time = not replica.slots and not replica.shard.chunk_count
        await replica.apply([DropSlots(slots)])  # of an attempt that broke off
        end = await self._bus.last_sequence()
        filling = Filling(replica.opened, videos=self._videos, indexing=self._indexing, end=self._bus.last_sequence)
        await filling.run(slots)
        if first_time:
            await replica.advance(end)
            if replica.shard.chunk_count:
                replica.origin = "rebuild"
        replica.hold(replica.slots | slots)

    async def _rebuild(self, slots: frozenset[int]) -> None:
        """Builds the index anew beside the present one, which answers meanwhile, and lets the new one take over."""
        replica = self._replica
        beside = replica.beside()
        await Filling(beside, videos=self._videos, indexing=self._indexing, end=self._bus.last_sequence).run(slots)
        replica.replace(beside)
        replica.hold(slots)
        replica.rebuild_asked = False
        replica.rebuilds += 1
        log.info("index_rebuilt", chunks=beside.shard.chunk_count, videos=beside.shard.video_count)
        await replica.snapshot()

    # ── following ────────────────────────────────────────────────────────────────────────────────

    async def _apply(self, batch: Sequence[FollowedEvent]) -> None:
        follower = self._follower
        assert follower is not None, "batches come from it"
        if batch:
            await self._apply_events(batch)
        await self._replica.advance(batch[-1].sequence if batch else follower.sequence)
        self._replica.lag = follower.lag

    async def _apply_events(self, batch: Sequence[FollowedEvent]) -> None:
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for event in batch:
            wanted[_fields(event).video_id].update(_slice_of(event))
        read = {video_id: await self._read(video_id, slices) for video_id, slices in wanted.items()}
        changes: list[Change] = []
        slices: dict[int, tuple[Video, str]] = {}
        for event in batch:
            video_id = _fields(event).video_id
            video, records = read.get(video_id, (None, []))
            if video is None:
                changes.append(RemoveVideo(video_id))
                continue
            if event.kind == "video.deleted":  # it was brought back since, and its slices come again
                continue
            if event.kind == "video.described":
                changes.append(DescribeVideo(video_id, video_info(video)))
                continue
            slice_id = _fields(event).slice_id
            part = video.slice(slice_id)
            # In another state it failed since, or is done again: then another event comes.
            if records is None or part is None or part.state not in INDEXABLE:
                continue
            try:
                change = replace_slice(video, slice_id, records)
            except EarmarkError as error:
                await self._indexing.refuse(video, slice_id, error)
                continue
            slices[len(changes)] = video, slice_id
            changes.append(change)
        applied = await self._replica.apply(changes)
        for place, refusal in applied.refused.items():
            video, slice_id = slices.pop(place)  # nothing but the chunks of a slice is ever refused
            await self._indexing.refuse(video, slice_id, refusal)
        await self._indexing.indexed(slices.values(), sequence=batch[-1].sequence)

    async def _read(self, video_id: str, slices: Collection[str]) -> tuple[Video | None, list[ChunkRecord] | None]:
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


async def persist(work: Callable[[], Awaitable[T]], event: str) -> T:
    """Does `work` until it is done: MongoDB, NATS or the disk may be away for a while, and order must be kept."""
    pause = 0.1
    while True:
        try:
            return await work()
        except* (PyMongoError, NatsError, OSError) as errors:
            log.warning(event, error=repr(errors.exceptions[0]), again_in_seconds=pause)
        except* EarmarkError as errors:
            if not all(error.transient for error in errors.exceptions if isinstance(error, EarmarkError)):
                raise
            log.warning(event, error=repr(errors.exceptions[0]), again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _fields(event: FollowedEvent) -> Any:
    return event.message


def _slice_of(event: FollowedEvent) -> list[str]:
    return [_fields(event).slice_id] if event.kind == "slice.embedded" else []
