"""Seals heads, merges segments and purges dead rows, behind the back of searches and changes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from prometheus_client import Counter, Histogram
from ulid import ULID

from services.common.errors import Unavailable
from services.common.executor import BoundedExecutor
from services.indexer.build import ORIGINS, Job, Source
from services.indexer.builder import Builder
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.head import Head
from services.indexer.lot import Lot, Place, Taken
from services.indexer.segment import Segment
from services.indexer.shard import Shard
from services.indexer.tiers import MergePolicy, Size
from services.indexer.view import PartView, View

log = structlog.get_logger()

MOST_FROZEN = 4
"""Frozen heads that may wait to be sealed; then changes wait. It bounds the memory that a burst of events takes."""
_LONGEST_PAUSE_SECONDS = 30.0
_LOOK_SECONDS = 5.0

BUILT = Histogram(
    "earmark_indexer_segment_build_seconds",
    "Time it took to build a segment.",
    ["why"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800),
)
FAILED = Counter("earmark_indexer_segment_builds_failed_total", "Segments whose building failed and is tried again.")


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """How a shard is cut into parts.

    Attributes:
        head_rows: Chunks in memory at which the head is sealed.
        dense: Which kind of vector index a segment gets.
        merge: When segments are merged.
        threads: Threads that a merge may use.
    """

    head_rows: int = 4096
    dense: DensePolicy = field(default_factory=DensePolicy)
    merge: MergePolicy = field(default_factory=MergePolicy)
    threads: int = 1


class Compactor:
    """Works on one shard. Building is in other processes, taking over in the writing thread, in microseconds.

    Args:
        shard: The shard.
        segments: Folder of the segments.
        work: Folder for what only a build needs.
        writes: The one thread that changes the shard.
        sealing: Builds segments of heads; quick.
        merging: Builds segments of segments; may take minutes.
        filling: Builds segments of videos as the database gives them.
        policy: How the shard is cut.
        trouble: Where it says what does not work just now, for people.
    """

    def __init__(
        self,
        shard: Shard,
        *,
        segments: Path,
        work: Path,
        writes: BoundedExecutor,
        sealing: Builder,
        merging: Builder,
        filling: Builder,
        policy: SegmentPolicy,
        trouble: MutableMapping[str, str] | None = None,
    ) -> None:
        self._shard = shard
        self._trouble = {} if trouble is None else trouble
        self._segments = segments
        self.work = work
        self._writes = writes
        self._sealing = sealing
        self._merging = merging
        self._filling = filling
        self._fillings = 0
        self._filled: set[str] = set()
        self._policy = policy
        self._building: set[str] = set()
        self._dead_since: dict[int, float] = {}
        self._seal_lock = asyncio.Lock()
        self._merge_lock = asyncio.Lock()
        self._to_seal, self._to_merge = asyncio.Event(), asyncio.Event()

    @property
    def in_use(self) -> set[str]:
        """Segments on disk that the shard has or is about to have."""
        building = set(self._building)  # first: one that is taken over meanwhile is a segment then
        return building | {part.part.segment_id for part in self._shard.segments}

    async def admit(self) -> None:
        """Waits while too many heads wait to be sealed."""
        while len(self._shard.frozen) >= MOST_FROZEN:
            await self.seal()

    async def after_change(self) -> None:
        """Freezes the head when it is full."""
        if self._shard.head_rows >= self._policy.head_rows:
            await self._writes.run(self._shard.freeze)
            self._to_seal.set()

    @property
    def lots_at_once(self) -> int:
        """Lots of videos that are made into segments at once."""
        return self._filling.processes

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """While this is entered nothing is merged: what comes of a filling is merged when all of it is there."""
        self._fillings += 1
        try:
            yield
        finally:
            self._fillings -= 1
            self._to_merge.set()

    async def take(self, documents: Path, videos: Sequence[Place], *, dimension: int, model_revision: str) -> Taken:
        """Makes a segment of videos as the database gave them, of which nothing is held yet, and lets it be found.

        Args:
            documents: The file they lie in.
            videos: Where each lies.
            dimension: Length of the vectors; others are refused.
            model_revision: The model they are of; others are refused.

        Returns:
            What became of them.

        Raises:
            Unavailable: It did not work this time; nothing was changed.
        """
        name = str(ULID()).lower()
        self._building.add(name)
        try:
            lot = Lot(self._segments / name, documents, videos, dimension, model_revision)
            taken = await self._filling.take(lot)
            if taken.rows:
                await self._writes.run(self._shard.attach, lot.target, taken.infos)
                self._filled.add(name)
        finally:
            self._building.discard(name)
        return taken

    async def seal(self) -> None:
        """Makes a segment of all frozen heads. When this returns, the heads there were are sealed.

        Raises:
            Unavailable: It did not work this time; the heads are as they were.
        """
        async with self._seal_lock:
            view, frozen = await self._writes.run(lambda: (self._shard.view, self._shard.frozen))
            if frozen:
                await self._replace(view, frozen, self._sealing, "seal")
                self._to_merge.set()

    async def compact(self) -> bool:
        """Merges once, or writes one segment anew, if the policy wants it. Says whether it did.

        Raises:
            Unavailable: It did not work this time; the segments are as they were.
        """
        async with self._merge_lock:
            view, segments = await self._writes.run(lambda: (self._shard.view, self._shard.segments))
            chosen = [segments[place] for place in self._policy.merge.choose(self._sizes(segments))]
            if chosen:
                await self._replace(view, chosen, self._merging, "merge")
            return bool(chosen)

    def _sizes(self, segments: Sequence[PartView]) -> list[Size]:
        now, filled = time.monotonic(), self._filled_rows(segments)
        since = self._dead_since
        self._dead_since = {part.part.serial: since.get(part.part.serial, now) for part in segments if part.deleted}
        return [
            Size(
                part.alive.count,
                part.deleted,
                now - self._dead_since.get(part.part.serial, now),
                provisional=part.part.kind == DenseKind.FLAT
                and self._policy.dense.choose(max(part.part.rows, filled.get(part.part.segment_id, 0)))
                != DenseKind.FLAT,
            )
            for part in segments
        ]

    def _filled_rows(self, segments: Sequence[PartView]) -> dict[str, int]:
        """Gives, for each segment that a filling made, the rows of all these: they count as one until merged."""
        rows = {part.part.segment_id: part.part.rows for part in segments if part.part.segment_id in self._filled}
        self._filled &= rows.keys()
        return dict.fromkeys(rows, sum(rows.values()))

    async def run(self) -> None:
        """Seals and merges for ever. What fails is tried again, later and later."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._persist("seal", self._keep_sealed))
            group.create_task(self._persist("merge", self._keep_merged))

    async def _keep_sealed(self) -> None:
        while not self._shard.frozen:
            await _called(self._to_seal)
        await self.seal()

    async def _keep_merged(self) -> None:
        while self._fillings or not await self.compact():
            await _called(self._to_merge)

    async def _persist(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.5
        while True:
            try:
                await work()
                pause = 0.5
                self._trouble.pop(name, None)
            except Unavailable as error:
                FAILED.inc()
                self._trouble[name] = error.message
                log.error("segment_not_built", error=error.message, again_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _replace(self, view: View, sources: Sequence[PartView], builder: Builder, why: str) -> None:
        living = [source for source in sources if source.alive.count]
        if not living:
            await self._writes.run(self._shard.discard, sources)
            return
        name = str(ULID()).lower()
        work = self.work / name
        self._building.add(name)
        try:
            given = await self._writes.run(self._sources, living, work)
            job = Job(
                target=self._segments / name,
                sources=given,
                dimension=view.dimension,
                model_revision=view.model_revision,
                policy=self._policy.dense,
                rows=sum(source.alive.count for source in living),
                threads=self._policy.threads,
            )
            manifest = await builder.build(job)
            await self._writes.run(self._take_over, job.target, living, sources)
        except OSError as error:
            raise Unavailable(f"the segment cannot be made just now: {error}") from error
        finally:
            self._building.discard(name)
            shutil.rmtree(work, ignore_errors=True)
        BUILT.labels(why).observe(manifest["build_seconds"])
        log.info(
            "segment_built",
            why=why,
            segment=name,
            parts=len(sources),
            rows=manifest["rows"],
            kind=manifest["dense"]["kind"],
            seconds=manifest["build_seconds"],
        )

    def _sources(self, parts: Sequence[PartView], work: Path) -> list[Source]:
        sources = []
        for place, (part, alive) in enumerate(parts):
            folder = work / f"{place}"
            if isinstance(part, Head):
                part.dump(folder)
            elif isinstance(part, Segment):
                folder = part.folder
            sources.append(Source(folder, None if alive.count == len(alive.mask) else alive.bits.tobytes()))
        return sources

    def _take_over(self, folder: Path, living: Sequence[PartView], sources: Sequence[PartView]) -> None:
        origins = np.load(folder / ORIGINS)
        (folder / ORIGINS).unlink()
        self._shard.take_over(folder, living, origins)
        self._shard.discard([source for source in sources if source.alive.count == 0])


async def _called(event: asyncio.Event) -> None:
    """Waits until there may be something to do: somebody says so, or dead rows may have become many meanwhile."""
    event.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await event.wait()
