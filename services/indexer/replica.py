"""One replica of one shard: the shard, its snapshots, and the threads that work on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.common.errors import InvalidArgument, Unavailable
from services.common.executor import BoundedExecutor
from services.common.ids import slot_of
from services.indexer.chunks import Change, Found, Query
from services.indexer.shard import Applied, Shard
from services.indexer.snapshot import SnapshotFolder

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica stands in the index: its shard, its number, how many shards there are, the slots it owns."""

    shard: int
    replica: int
    shards: int
    slots: frozenset[int]

    def check_owned(self, video_id: str) -> None:
        """Raises InvalidArgument when the video belongs to another shard."""
        if slot_of(video_id) not in self.slots:
            message = f"video {video_id[:64]!r} belongs to another shard than {self.shard}; the slot table says which"
            raise InvalidArgument(message, field="chunks.video_id")


class Replica:
    """A shard that is opened from its last snapshot or filled anew, then changed by one thread and searched by several.

    Args:
        place: Where it stands.
        snapshots: Its snapshots.
        searches: Threads for searches.
        writes: One thread for everything that changes or copies the shard.
    """

    def __init__(
        self, *, place: Place, snapshots: SnapshotFolder, searches: BoundedExecutor, writes: BoundedExecutor
    ) -> None:
        self.place = place
        self.origin = "empty"
        """How the index came to be at this start: snapshot, rebuild or empty."""
        self.ready = False
        """Whether it has caught up with the stream since it started."""
        self.snapshot_sequence = 0
        """Last stream sequence that is in a snapshot on disk."""
        self._snapshots = snapshots
        self._searches = searches
        self._writes = writes
        self._shard: Shard | None = None
        self._filling = False
        self._snapshot_changes = 0
        self._snapshot_at = time.time()

    @property
    def shard(self) -> Shard:
        """The shard. Raises Unavailable while it is not open."""
        if self._shard is None:
            raise Unavailable(f"shard {self.place.shard} is still loading; try again shortly", retry_after_seconds=1)
        return self._shard

    @property
    def open(self) -> bool:
        """Whether there is a shard yet."""
        return self._shard is not None

    @property
    def snapshot_age_seconds(self) -> float:
        """Seconds since the last snapshot, or since the start while there is none."""
        return time.time() - self._snapshot_at

    async def restore(self) -> bool:
        """Opens the newest sound snapshot. False when there is none."""
        await self._let_go()
        shard = await self._writes.run(self._snapshots.load)
        if shard is None:
            return False
        self._shard = shard
        self._filling = False
        self._snapshot_changes = shard.changes
        self.snapshot_sequence = shard.applied_sequence
        self.origin = "snapshot"
        return True

    async def begin_anew(self) -> None:
        """Opens an empty shard. No snapshot is taken before it is `filled`: half an index must not last."""
        await self._let_go()
        self._filling = True
        self._shard = await self._writes.run(self._snapshots.empty)
        self._snapshot_changes = self._shard.changes
        self.snapshot_sequence = 0
        self.origin = "empty"

    async def filled(self, sequence: int) -> None:
        """Says that the shard has all it must have at `sequence` of the stream."""
        await self.advance(sequence)
        self._filling = False
        if self.shard.chunk_count:
            self.origin = "rebuild"

    async def search(self, query: Query) -> Found:
        """Searches the shard.

        Raises:
            Unavailable: It loads, or is not caught up.
            Overloaded: Too many searches wait.
            InvalidArgument, ModelMismatch: The query is wrong (see `Shard.search`).
        """
        self._check_ready()
        return await self._searches.run(self.shard.search, query)

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Changes the shard, as `Shard.apply` does; what it did can be searched when this returns."""
        return await self._writes.run(self.shard.apply, changes)

    async def apply_durably(self, change: Change) -> Applied:
        """Makes one change that has come from outside the stream, and a snapshot with it in.

        Raises:
            Unavailable: It loads, is not caught up, or cannot write to its disk.
            InvalidArgument, ModelMismatch: The change was refused.
        """
        self._check_ready()
        applied = await self.apply([change])
        for error in applied.refused.values():
            raise error
        await self.snapshot()
        return applied

    async def advance(self, sequence: int) -> None:
        """Says that nothing up to `sequence` changes the shard any more."""
        await self._writes.run(self.shard.advance, sequence)

    async def snapshot(self) -> None:
        """Takes a snapshot if something changed since the last one. Searches go on meanwhile.

        Raises:
            Unavailable: The disk does not take it.
        """
        try:
            await self._writes.run(self._take_snapshot)
        except OSError as error:
            raise Unavailable(f"the snapshot cannot be written just now: {error}") from error

    async def close(self) -> None:
        """Takes a last snapshot and lets the files go."""
        if self._shard is None:
            return
        await self.snapshot()
        await self._let_go()

    async def _let_go(self) -> None:
        self.ready = False
        shard, self._shard = self._shard, None
        if shard is not None:
            await self._writes.run(shard.close)

    def _take_snapshot(self) -> None:
        shard = self.shard
        if self._filling:
            return
        if (shard.changes, shard.applied_sequence) == (self._snapshot_changes, self.snapshot_sequence):
            return
        self._snapshots.write(shard)
        self._snapshot_changes, self.snapshot_sequence = shard.changes, shard.applied_sequence
        self._snapshot_at = time.time()

    def _check_ready(self) -> None:
        if not self.ready:
            message = f"shard {self.place.shard} is not caught up yet; try again shortly"
            raise Unavailable(message, retry_after_seconds=1)

    async def keep_snapshots(self, *, every_seconds: float) -> None:
        """Takes snapshots for ever. One that fails is tried again next time: the stream still has what it lacks."""
        while True:
            await asyncio.sleep(every_seconds)
            if not self.open:
                continue
            try:
                await self.snapshot()
            except Unavailable as error:
                log.error("snapshot_failed", error=error.message)
