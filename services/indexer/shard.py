"""The shard: parts with both legs each, changed together and searched together."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.errors import EarmarkError
from services.indexer.chunks import Change, Chunk, Found, Query, Vectors, VideoInfo
from services.indexer.head import Head
from services.indexer.plan import Plan, Planner
from services.indexer.record import encode
from services.indexer.rows import Mask, Rows
from services.indexer.search import Searcher
from services.indexer.segment import Segment, SegmentCorrupt
from services.indexer.videos import NOBODY, VideoTable
from services.indexer.view import ROW_BITS, PartView, View

_ROW_MASK = (1 << ROW_BITS) - 1


@dataclass(frozen=True, slots=True)
class Applied:
    """What `Shard.apply` did: chunks added and removed, and the changes refused, by place in the list."""

    added: int
    removed: int
    refused: dict[int, EarmarkError]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a shard held at a moment, and the stream sequence that was applied."""

    view: View
    applied_sequence: int


@dataclass(frozen=True, slots=True)
class SlotDigest:
    """What is held of a slot: how many chunks, and a SHA-256 over them, their vectors and their videos."""

    slot: int
    chunks: int
    digest: bytes


class Shard:
    """The chunks of the videos of some slots, searchable by meaning and by words.

    One thread at a time changes it; any number search, without a lock: a search takes the view there is when it begins,
    and a change puts another in its place. So a search sees each `apply` whole or not at all.

        chunks ──apply──▶ head ──freeze──▶ frozen heads ──take_over──▶ segments ──take_over──▶ fewer, larger ones
                          in memory, exact                  built beside, in another process
    """

    def __init__(self) -> None:
        self.videos = VideoTable()
        """What is true of the videos; for the writing thread."""
        self._view = View()
        self._searcher = Searcher(self.videos)
        self._serials = itertools.count(1)
        self._head: Head | None = None
        self._applied_sequence = 0
        self._changes = 0
        self._epoch = secrets.token_hex(6)
        self._whole = True

    # ── what it holds ────────────────────────────────────────────────────────────────────────────

    @property
    def view(self) -> View:
        """What a search that begins now sees."""
        return self._view

    @property
    def chunk_count(self) -> int:
        """Chunks held."""
        return self._view.chunk_count

    @property
    def video_count(self) -> int:
        """Videos with at least one chunk."""
        return len(self.videos)

    @property
    def model_revision(self) -> str:
        """Model of the vectors; empty while there are none."""
        return self._view.model_revision

    @property
    def dimension(self) -> int:
        """Length of the vectors; 0 while there are none."""
        return self._view.dimension

    @property
    def applied_sequence(self) -> int:
        """Last stream sequence whose effect is in the shard."""
        return self._applied_sequence

    @property
    def changes(self) -> int:
        """Grows whenever what is held changes."""
        return self._changes

    @property
    def version(self) -> str:
        """Stands for what is held: another whenever that changes, and never that of another shard or another start.

        Read it before what it is to stand for: it is changed after what is held, and before a change is called done.
        """
        return f"{self._epoch}-{self._changes:x}"

    @property
    def whole(self) -> bool:
        """Whether every change begun was also ended: if not, only a restart helps."""
        return self._whole

    @property
    def head_rows(self) -> int:
        """Rows in the head that takes new chunks."""
        return self._head.rows if self._head is not None else 0

    @property
    def frozen(self) -> list[PartView]:
        """Heads that take nothing any more and wait to be sealed."""
        return [part for part in self._view.parts if isinstance(part.part, Head) and part.part is not self._head]

    @property
    def segments(self) -> list[PartView]:
        """The sealed parts."""
        return [part for part in self._view.parts if isinstance(part.part, Segment)]

    def videos_in(self, slots: Iterable[int]) -> Iterable[str]:
        """Gives the videos of some slots that have chunks."""
        return self.videos.in_slots(slots)

    def slices_of(self, video_id: str) -> Mapping[str, Mapping[str, int]]:
        """Gives, for each slice of a video that has chunks, their numbers by chunk id."""
        slices: defaultdict[str, dict[str, int]] = defaultdict(dict)
        if video_id in self.videos:
            for part, alive in self._view.parts:
                for slice_id, rows in part.slice_rows(video_id).items():
                    for chunk_id, row in rows.items():
                        if alive.mask[row]:
                            slices[slice_id][chunk_id] = part.serial << ROW_BITS | row
        return slices

    def holds(self, number: int, chunk: Chunk, vector: Vectors) -> bool:
        """Says whether a number stands for just this chunk with just this vector."""
        part, row = self._view.part(number >> ROW_BITS).part, number & _ROW_MASK
        rows = np.array([row])
        same = part.records(rows) == [encode(chunk)] and part.sentences(rows) == [chunk.sentence_vectors]
        return same and bool(np.array_equal(part.vectors(rows)[0], vector))

    def digests(self, slots: Sequence[int]) -> list[SlotDigest]:
        """Gives a hash of what is held of slots, the same for shards that agree; for the writing thread."""
        result = []
        for slot in slots:
            total, chunks = hashlib.sha256(), 0
            for video_id in sorted(self.videos.in_slots([slot])):
                total.update(self.model_revision.encode())  # here, so that all empty slots agree
                info = self.videos.info(video_id)
                total.update(repr((video_id, replace(info, tags=tuple(sorted(info.tags))))).encode())
                numbers = {
                    chunk_id: n for of_slice in self.slices_of(video_id).values() for chunk_id, n in of_slice.items()
                }
                for _, number in sorted(numbers.items()):
                    part, row = self._view.part(number >> ROW_BITS).part, number & _ROW_MASK
                    rows = np.array([row])
                    total.update(part.records(rows)[0])
                    total.update(part.sentences(rows)[0])
                    total.update(part.vectors(rows).astype("<f2").tobytes())
                    chunks += 1
            result.append(SlotDigest(slot, chunks, total.digest()))
        return result

    def search(self, query: Query) -> Found:
        """Searches what is held. Raises what `Searcher.search` raises."""
        return self.search_many([query])[0]

    def search_many(self, queries: Sequence[Query]) -> list[Found]:
        """Searches what is held, for all queries at one moment. Raises what `Searcher.search` raises."""
        return self.search_at(self.moment, queries)

    @property
    def moment(self) -> Moment:
        """What there is now, to be searched when a thread is free."""
        applied = self._applied_sequence  # before the view: an answer may have in more than it says, never less
        return Moment(self._view, applied)

    def search_at(self, moment: Moment, queries: Sequence[Query]) -> list[Found]:
        """Searches what there was at a moment. Raises what `Searcher.search` raises."""
        return self._searcher.search(moment.view, queries, applied_sequence=moment.applied_sequence)

    # ── changing it ──────────────────────────────────────────────────────────────────────────────

    def apply(self, changes: Sequence[Change], *, sequence: int | None = None) -> Applied:
        """Makes changes, in order and as one: a change that cannot be made is refused and the others are made.

        Args:
            changes: The changes.
            sequence: Stream sequence they bring the shard to; None when they do not come from the stream.

        Returns:
            What was done. Refused are InvalidArgument (a wrong chunk or vector) and ModelMismatch.

        Raises:
            RuntimeError: A change before this one broke off in the middle.
        """
        if not self._whole:
            raise RuntimeError("a change of this shard broke off in the middle; only a restart helps")
        plan = Planner(self, model_revision=self.model_revision, dimension=self.dimension).plan(list(changes))
        if plan.removed or plan.added or plan.infos:
            self._whole = False
            self._make(plan)
            self._whole = True
        if sequence is not None:
            self.advance(sequence)
        return Applied(len(plan.added), len(plan.removed), plan.refused)

    def advance(self, sequence: int) -> None:
        """Says that nothing up to `sequence` changes the shard any more."""
        self._applied_sequence = max(self._applied_sequence, sequence)

    def freeze(self) -> None:
        """Makes the head take nothing any more; the next chunk begins another. Does nothing while it is empty."""
        if self.head_rows:
            self._head = None

    def attach(self, folder: Path, infos: Mapping[str, VideoInfo], alive: Mask | None = None) -> None:
        """Opens a segment of chunks that are not held yet and makes them findable.

        Args:
            folder: The segment.
            infos: What is true of its videos.
            alive: Which of its rows live; None means all.

        Raises:
            SegmentCorrupt: It is not what was written; nothing was changed.
            ValueError: Its vectors are of another model than those held.
        """
        numbers = {video_id: self.videos.put(video_id, info) for video_id, info in infos.items()}
        try:
            segment = Segment(next(self._serials), folder, lambda video_id: numbers.get(video_id, NOBODY))
            if self.chunk_count and segment.model_revision != self.model_revision:
                raise ValueError(f"the segment is of {segment.model_revision}, the shard of {self.model_revision}")
        except (SegmentCorrupt, ValueError):
            self.videos.forget_empty(numbers.values())
            raise
        part = PartView(segment, Rows(np.ones(segment.rows, np.bool_) if alive is None else alive))
        self.videos.count(segment.video_numbers()[part.alive.mask], 1)
        head = [one for one in self._view.parts if one.part is self._head]
        others = [one for one in self._view.parts if one.part is not self._head]
        self._view = View((*others, part, *head), segment.model_revision, segment.dimension)
        self._changes += 1

    def take_over(self, folder: Path, sources: Sequence[PartView], origins: npt.NDArray[np.uint32]) -> None:
        """Puts a segment in the place of the parts it was made from. What died in them meanwhile is dead in it.

        Args:
            folder: The segment.
            sources: The parts, as they were when it was begun.
            origins: For each of its rows the place in `sources` and the row there, shape (rows, 2).

        Raises:
            SegmentCorrupt: It is not what was written; nothing was changed.
        """
        now = {part.part.serial: part.alive for part in self._view.parts}
        if all(source.part.serial not in now for source in sources):
            return  # all was removed meanwhile, and began anew with another model
        segment = Segment(next(self._serials), folder, self.videos.number)
        alive = np.zeros(segment.rows, np.bool_)
        for place, source in enumerate(sources):
            if (rows := now.get(source.part.serial)) is not None:
                mine = np.flatnonzero(origins[:, 0] == place)
                alive[mine] = rows.mask[origins[mine, 1]]
        self._swap(sources, (PartView(segment, Rows(alive)),))

    def discard(self, sources: Sequence[PartView]) -> None:
        """Drops those of the parts of which nothing lives any more."""
        gone = {source.part.serial for source in sources}
        dead = [part for part in self._view.parts if part.part.serial in gone and part.alive.count == 0]
        self._swap(dead, ())

    def _swap(self, sources: Sequence[PartView], into: tuple[PartView, ...]) -> None:
        gone = {source.part.serial for source in sources}
        parts: list[PartView] = []
        for part in self._view.parts:
            if part.part.serial not in gone:
                parts.append(part)
            elif into:  # at the place of the oldest
                parts += into
                into = ()
        self._view = replace(self._view, parts=tuple(parts))
        for source in sources:
            source.part.close()

    def _make(self, plan: Plan) -> None:
        view = self._view
        renewed = bool(plan.added) and (plan.model_revision, plan.dimension) != (view.model_revision, view.dimension)
        version = self.videos.version
        new = {chunk.video_id for chunk in plan.added}
        for video_id in new | (plan.infos.keys() & set(self.videos)):
            self.videos.put(video_id, plan.infos.get(video_id, self.videos.info(video_id)))
        if not plan.added and not plan.removed:
            self._changes += self.videos.version != version
            return
        alive = {part.part.serial: part.alive for part in view.parts}
        # The new before the old: a video whose chunks are all replaced keeps its number.
        if plan.added:
            if self._head is None or renewed:
                self._head = Head(next(self._serials), plan.dimension)
            numbers = [self.videos.number(chunk.video_id) for chunk in plan.added]
            self._head.add(plan.added, np.stack(plan.vectors), numbers)
            before = alive.get(self._head.serial)
            added = np.ones(len(plan.added), np.bool_)
            alive[self._head.serial] = Rows(added if before is None else np.append(before.mask, added))
            self.videos.count(np.array(numbers, np.int32), 1)
        gone: defaultdict[int, list[int]] = defaultdict(list)
        for number in plan.removed:
            gone[number >> ROW_BITS].append(number & _ROW_MASK)
        for serial, rows in gone.items():
            mask = alive[serial].mask.copy()
            mask[rows] = False
            alive[serial] = Rows(mask)
            self.videos.count(view.part(serial).part.video_numbers()[rows], -1)
        parts = [PartView(part.part, alive[part.part.serial]) for part in view.parts]
        if self._head is not None and all(part.part is not self._head for part in parts):
            parts.append(PartView(self._head, alive[self._head.serial]))
        if renewed:  # nothing of the model before lives any more
            parts = [part for part in parts if part.part is self._head]
        count = sum(part.alive.count for part in parts)
        self._view = View(tuple(parts), plan.model_revision, plan.dimension) if count else self._emptied(parts)
        self._changes += 1

    def _emptied(self, parts: Sequence[PartView]) -> View:
        """Nothing lives: the next vectors may be of any model. The parts stay until maintenance drops them."""
        self._head = None
        return View(tuple(parts))

    def close(self) -> None:
        """Frees what is held in memory. What is not in a snapshot is lost."""
        for part in self._view.parts:
            part.part.close()
