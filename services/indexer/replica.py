"""One replica of one shard: the shard, what keeps it in order, its snapshots, and the threads that work on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.common.executor import BoundedExecutor
from services.common.ids import slot_of
from services.common.tasks import cancel
from services.indexer.builder import Builder
from services.indexer.chunks import Change, Found, Query
from services.indexer.compactor import Compactor, SegmentPolicy
from services.indexer.places import Place
from services.indexer.shard import Applied, Shard, SlotDigest
from services.indexer.snapshot import Loaded, SnapshotFolder, State

log = structlog.get_logger()


class SlotsNotHeld(FailedPrecondition):
    """A slot that was asked for is not held here (any more, or yet): the asker's slot table is not the newest."""

    reason = "SLOTS_NOT_HELD"


WRITER_NICENESS = 10
"""Searches go before changes where both want a core; a tenth is left to these, some hundred chunks a second."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Where a replica's work is done.

    Attributes:
        searches: Threads for searches, `parallel` of them.
        parallel: How many.
        writes: One thread for everything that changes the shard.
        files: One thread for snapshots.
        sealing: The process that makes segments of heads.
        merging: The process that makes segments of segments.
        filling: The processes that make segments of what the database gives.
    """

    searches: BoundedExecutor
    parallel: int
    writes: BoundedExecutor
    files: BoundedExecutor
    sealing: Builder = field(default_factory=Builder)
    merging: Builder = field(default_factory=Builder)
    filling: Builder = field(default_factory=Builder)


@dataclass(frozen=True, slots=True)
class Opened:
    """A shard with what seals and merges it."""

    shard: Shard
    compactor: Compactor


class Replica:
    """A shard that is opened from its last snapshot or filled anew, then changed by one thread and searched by several.

    Args:
        place: Where it stands.
        snapshots: Its snapshots.
        threads: Where its work is done.
        policy: How its shard is cut into segments.
    """

    def __init__(self, *, place: Place, snapshots: SnapshotFolder, threads: Threads, policy: SegmentPolicy) -> None:
        self.place = place
        self.slots: frozenset[int] = frozenset()
        """Slots held whole; a search is answered for these."""
        self.slot_table_version = 0
        """Version of the slot table that `slots` follows."""
        self.origin = "empty"
        """How the index came to be at this start: snapshot, object_store, rebuild or empty."""
        self.repaired: list[str] = []
        """What was found damaged at this start and has been filled in again."""
        self.ready = False
        """Whether it has caught up with the stream since it started."""
        self.lag = 0
        """Events of its slots that it has yet to apply."""
        self.snapshot_sequence = 0
        """Last stream sequence that is in a snapshot on disk."""
        self.rebuilds = 0
        """Times it was built anew beside itself since the start."""
        self.rebuild_asked = False
        """Whether it is to be, or is being."""
        self.shards_total = 0
        """Shards there are, by the slot table."""
        self.trouble: dict[str, str] = {}
        """What does not work just now, for people, by what it keeps from being done."""
        self.filling = False
        """Whether the shard has chunks of slots that it does not hold whole."""
        self._snapshots = snapshots
        self._threads = threads
        self._policy = policy
        self._opened: Opened | None = None
        self._beside: Opened | None = None
        self._replaced = asyncio.Event()
        self._moved = asyncio.Condition()
        self._snapshot_lock = asyncio.Lock()
        self._snapshot_of: tuple[int, int, frozenset[int]] | None = None
        self._snapshot_segments: frozenset[str] = frozenset()
        self._snapshot_at = time.time()
        self._whole = False

    # ── what it is ───────────────────────────────────────────────────────────────────────────────

    @property
    def search_threads(self) -> int:
        """Searches it runs at once."""
        return self._threads.parallel

    @property
    def opened(self) -> Opened:
        """The shard and its compactor. Raises Unavailable while there is none."""
        if self._opened is None:
            raise Unavailable(f"shard {self.place.shard} is still loading; try again shortly", retry_after_seconds=1)
        return self._opened

    @property
    def shard(self) -> Shard:
        """The shard. Raises Unavailable while it is not open."""
        return self.opened.shard

    @property
    def open(self) -> bool:
        """Whether there is a shard yet."""
        return self._opened is not None

    @property
    def snapshot_age_seconds(self) -> float:
        """Seconds since the last snapshot, or since the start while there is none."""
        return time.time() - self._snapshot_at

    def check_owned(self, video_id: str) -> None:
        """Raises InvalidArgument when the video belongs to a slot that is not held here, Unavailable while it loads."""
        self._check_ready()
        if slot_of(video_id) not in self.slots:
            message = f"video {video_id[:64]!r} belongs to another shard than {self.place.shard}; see the slot table"
            raise InvalidArgument(message, field="chunks.video_id")

    # ── opening, filling, replacing ──────────────────────────────────────────────────────────────

    async def restore(self) -> Loaded | None:
        """Opens the newest sound snapshot; None when there is none."""
        loaded = await self._threads.files.run(self._snapshots.load)
        self.repaired = list(self._snapshots.set_aside)
        if loaded is None:
            return None
        self.origin = "snapshot"
        self.slots = loaded.slots
        self.snapshot_sequence = loaded.shard.applied_sequence
        self._take(self._with_compactor(loaded.shard))
        if not loaded.damaged and not loaded.undescribed:
            self._snapshot_of, self._snapshot_segments = self._state_mark(), self._segments()
        self._whole = not loaded.damaged
        return loaded

    def begin_anew(self) -> None:
        """Opens an empty shard that holds no slot."""
        self._whole = True
        self.slots = frozenset()
        self._take(self._with_compactor(Shard()))

    def repaired_all(self) -> None:
        """Says that what was damaged is filled in again: only now may a snapshot be taken."""
        self._whole = True

    def beside(self) -> Opened:
        """Opens an empty shard beside the one that answers."""
        self._beside = self._with_compactor(Shard())
        return self._beside

    def replace(self, opened: Opened) -> None:
        """Lets a shard that was filled beside take over."""
        before = self._opened
        opened.shard.advance(self.shard.applied_sequence)
        self._take(opened)
        self._beside = None
        if before is not None:
            before.shard.close()

    def hold(self, slots: frozenset[int]) -> None:
        """Says which slots are held whole from now on."""
        self.slots = slots

    def _with_compactor(self, shard: Shard) -> Opened:
        compactor = Compactor(
            shard,
            segments=self._snapshots.segments,
            work=self._snapshots.work,
            writes=self._threads.writes,
            sealing=self._threads.sealing,
            merging=self._threads.merging,
            filling=self._threads.filling,
            policy=self._policy,
            trouble=self.trouble,
        )
        return Opened(shard, compactor)

    def _take(self, opened: Opened) -> None:
        self._opened = opened
        self._replaced.set()

    @property
    def version(self) -> str:
        """Stands for what is held (`Shard.version`). Raises Unavailable while there is no shard."""
        return self.shard.version

    def check(self, query: Query) -> None:
        """Says whether a search would be answered now. Raises Unavailable, SlotsNotHeld."""
        self._check_ready()
        self._restricted(query)

    # ── searching ────────────────────────────────────────────────────────────────────────────────

    async def search(self, queries: Sequence[Query]) -> list[Found]:
        """Searches the shard, all queries at one moment; many are spread over the threads.

        Raises:
            Unavailable: It loads, or is not caught up.
            SlotsNotHeld: A slot asked for is not held here.
            Overloaded: Too many searches wait.
            InvalidArgument, ModelMismatch: A query is wrong (see `Searcher.search`).
        """
        self._check_ready()
        # Now, not when a thread is free: until then a slot that is held may be dropped, or half of another be there.
        shard, moment = self.shard, self.shard.moment
        queries = [self._restricted(query) for query in queries]
        if len(queries) == 1:
            return await self._threads.searches.run(shard.search_at, moment, queries)
        share = -(-len(queries) // self._threads.parallel)
        parts = [queries[start : start + share] for start in range(0, len(queries), share)]
        found = await asyncio.gather(*(self._threads.searches.run(shard.search_at, moment, part) for part in parts))
        return [one for part in found for one in part]

    def _restricted(self, query: Query) -> Query:
        """Gives the query with no slots where those it asks for are all there is."""
        asked = self.slots if query.slots is None else query.slots
        if missing := sorted(asked - self.slots):
            raise SlotsNotHeld(f"shard {self.place.shard} does not hold slot {missing[0]}: read the slot table again")
        slots = None if asked == self.slots and not self.filling else asked
        return query if query.slots == slots else replace(query, slots=slots)

    async def reached(self, sequence: int, *, timeout: float) -> bool:
        """Waits until the events up to `sequence` are applied, at most `timeout` seconds; False when they are not."""
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(lambda: self.open and self.shard.applied_sequence >= sequence)
        except TimeoutError:
            return False
        return True

    async def digests(self, slots: Sequence[int]) -> tuple[list[SlotDigest], int]:
        """Counts and hashes what is held of slots, and gives the stream sequence applied at that moment.

        Raises:
            SlotsNotHeld: One of them is not held.
        """
        if missing := sorted(set(slots) - self.slots):
            raise SlotsNotHeld(f"shard {self.place.shard} does not hold slot {missing[0]}")
        shard = self.shard
        return await self._threads.writes.run(lambda: (shard.digests(slots), shard.applied_sequence))

    # ── changing ─────────────────────────────────────────────────────────────────────────────────

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Changes the shard, as `Shard.apply` does; what it did can be searched when this returns.

        Raises:
            Unavailable: The chunks of before cannot be sealed: the disk does not take them.
        """
        opened = self.opened
        await opened.compactor.admit()
        applied = await self._threads.writes.run(opened.shard.apply, changes)
        await opened.compactor.after_change()
        return applied

    async def apply_durably(self, change: Change) -> Applied:
        """Makes one change that has come from outside the stream, and a snapshot with it in.

        Raises:
            Unavailable: It loads, is not caught up, or cannot write to its disk.
            InvalidArgument, ModelMismatch: The change was refused.
        """
        self._check_ready()
        if self.rebuild_asked:
            raise Unavailable(f"shard {self.place.shard} is being built anew; try again later", retry_after_seconds=5)
        applied = await self.apply([change])
        for error in applied.refused.values():
            raise error
        await self.snapshot()
        return applied

    async def advance(self, sequence: int) -> None:
        """Says that nothing up to `sequence` changes the shard any more."""
        if sequence > self.shard.applied_sequence:
            await self._threads.writes.run(self.shard.advance, sequence)
        async with self._moved:
            self._moved.notify_all()

    def _check_ready(self) -> None:
        if not self.ready:
            message = f"shard {self.place.shard} is not caught up yet; try again shortly"
            raise Unavailable(message, retry_after_seconds=1)

    # ── snapshots and order ──────────────────────────────────────────────────────────────────────

    async def snapshot(self) -> None:
        """Takes a snapshot if something changed since the last one, or was merged: a restart would merge it again.

        Searches and changes go on meanwhile.

        Raises:
            Unavailable: The disk does not take it.
        """
        async with self._snapshot_lock:
            opened = self._opened
            if opened is None or not self._whole:
                return
            if self._state_mark() == self._snapshot_of and self._segments() == self._snapshot_segments:
                return
            mark = self._state_mark()
            _, sequence, slots = mark
            # Taken before the head is sealed: what comes after it is in the stream, and is done again after a restart.
            await self._threads.writes.run(_freeze, opened.shard)
            await opened.compactor.seal()
            # A slot that went meanwhile may be half dropped already; one that came is not in `slots`.
            slots &= self.slots
            state = await self._threads.writes.run(State.of, opened.shard, applied_sequence=sequence, slots=slots)
            if opened is not self._opened:
                return  # another has taken its place meanwhile
            try:
                await self._threads.files.run(self._snapshots.write, state)
            except OSError as error:
                raise Unavailable(f"the snapshot cannot be written just now: {error}") from error
            self._snapshot_of, self.snapshot_sequence = mark, sequence
            self._snapshot_segments = frozenset(segment_id for segment_id, _, _ in state.segments)
            self._snapshot_at = time.time()
            await self._threads.files.run(self._snapshots.prune, self._in_use)

    async def keep_snapshots(self, *, every_seconds: float) -> None:
        """Takes snapshots for ever. One that fails is tried again next time: the stream still has what it lacks."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.snapshot()
                self.trouble.pop("snapshot", None)
            except Unavailable as error:
                self.trouble["snapshot"] = error.message
                log.error("snapshot_failed", error=error.message)

    async def keep_compact(self) -> None:
        """Seals and merges the parts of whichever shard there is, for ever."""
        while True:
            await self._replaced.wait()
            self._replaced.clear()
            work = asyncio.ensure_future(self.opened.compactor.run())
            replaced = asyncio.ensure_future(self._replaced.wait())
            try:
                await asyncio.wait({work, replaced}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
            finally:
                await cancel([work, replaced])

    async def close(self) -> None:
        """Takes a last snapshot and lets everything go."""
        self.ready = False
        try:
            await self.snapshot()
        finally:
            self._threads.sealing.close()
            self._threads.merging.close()
            self._threads.filling.close()
            if self._opened is not None:
                await self._threads.writes.run(self._opened.shard.close)
                self._opened = None

    def _state_mark(self) -> tuple[int, int, frozenset[int]]:
        return self.shard.changes, self.shard.applied_sequence, self.slots

    def _segments(self) -> frozenset[str]:
        return frozenset(part.part.segment_id for part in self.shard.segments)

    def _in_use(self) -> set[str]:
        opened = [opened for opened in (self._opened, self._beside) if opened is not None]
        return {name for one in opened for name in one.compactor.in_use}


def _freeze(shard: Shard) -> None:
    # Asked in the writing thread: anywhere else a change may just be under way.
    if not shard.whole:
        raise RuntimeError("a change of this shard broke off in the middle; a snapshot would make that last")
    shard.freeze()
