"""What a list of changes comes to: which chunks go, which come, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from services.common.errors import EarmarkError, InvalidArgument, ModelMismatch
from services.common.ids import slot_of
from services.indexer.chunks import (
    Batch,
    Change,
    Chunk,
    DescribeVideo,
    DropSlots,
    PutChunks,
    RemoveVideo,
    ReplaceSlice,
    Vectors,
    VideoInfo,
)


class Holdings(Protocol):
    """What a shard holds, as far as a plan needs to know. Numbers are of living chunks."""

    @property
    def chunk_count(self) -> int:
        """Chunks held."""
        ...

    def videos_in(self, slots: Iterable[int]) -> Iterable[str]:
        """Gives the videos of some slots that have chunks."""
        ...

    def slices_of(self, video_id: str) -> Mapping[str, Mapping[str, int]]:
        """Gives, for each slice of a video that has chunks, their numbers by chunk id."""
        ...

    def holds(self, number: int, chunk: Chunk, vector: Vectors) -> bool:
        """Says whether a number stands for just this chunk with just this vector."""
        ...


@dataclass(frozen=True, slots=True)
class _New:
    chunk: Chunk
    vector: Vectors


@dataclass(slots=True)
class Plan:
    """The net effect of a list of changes, taken in order.

    Attributes:
        removed: Numbers that go.
        added: Chunks that come, in order.
        vectors: Their vectors, in the same order.
        infos: What is true of the videos named.
        refused: Changes that were not taken in, by place in the list, and why.
        model_revision: Model of the vectors after the change; empty when none remain.
        dimension: Length of the vectors after the change; 0 when none remain.
    """

    removed: list[int] = field(default_factory=list)
    added: list[Chunk] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    infos: dict[str, VideoInfo] = field(default_factory=dict)
    refused: dict[int, EarmarkError] = field(default_factory=dict)
    model_revision: str = ""
    dimension: int = 0


class Planner:
    """Works out a `Plan` against the chunks there are.

    Args:
        holdings: The chunks there are.
        model_revision: The model of their vectors; empty when there are none.
        dimension: The length of their vectors; 0 when there are none.
    """

    def __init__(self, holdings: Holdings, *, model_revision: str, dimension: int) -> None:
        self._holdings = holdings
        self._count = holdings.chunk_count
        self._plan = Plan(model_revision=model_revision, dimension=dimension)
        self._before: dict[str, Mapping[str, Mapping[str, int]]] = {}
        self._slices: dict[tuple[str, str], dict[str, int | _New]] = {}

    def plan(self, changes: list[Change]) -> Plan:
        """Gives what the changes come to."""
        for place, change in enumerate(changes):
            try:
                self._take(change)
            except EarmarkError as error:
                self._plan.refused[place] = error
        for (video_id, slice_id), after in self._slices.items():
            before = self._held(video_id).get(slice_id, {})
            kept = {held for held in after.values() if isinstance(held, int)}
            self._plan.removed += [number for number in before.values() if number not in kept]
            for held in after.values():
                if isinstance(held, _New):
                    self._plan.added.append(held.chunk)
                    self._plan.vectors.append(held.vector)
        return self._plan

    def _take(self, change: Change) -> None:
        match change:
            case ReplaceSlice():
                batch = self._accepted(change.batch)
                for chunk in batch.chunks:
                    if (chunk.video_id, chunk.slice_id) != (change.video_id, change.slice_id):
                        where = f"{change.video_id}/{change.slice_id}"
                        raise InvalidArgument(
                            f"chunk {chunk.chunk_id!r} is not of slice {where}", field="chunks.chunk_id"
                        )
                before = self._slice(change.video_id, change.slice_id)
                self._empty(change.video_id, change.slice_id)
                for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
                    self._put(chunk, vector, before.get(chunk.chunk_id))
                self._plan.infos[change.video_id] = change.info
            case PutChunks():
                batch = self._accepted(change.batch)
                for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
                    self._put(chunk, vector, self._slice(chunk.video_id, chunk.slice_id).get(chunk.chunk_id))
                self._plan.infos.update(change.infos)
            case RemoveVideo():
                self._remove(change.video_id)
            case DescribeVideo():
                self._plan.infos[change.video_id] = change.info
            case DropSlots():
                planned = {video_id for video_id, _ in self._slices if slot_of(video_id) in change.slots}
                for video_id in {*self._holdings.videos_in(change.slots), *planned}:
                    self._remove(video_id)
            case _:
                assert_never(change)

    def _put(self, chunk: Chunk, vector: Vectors, held: int | _New | None) -> None:
        """Puts a chunk into its slice; one that is held just so already keeps its number, and costs nothing."""
        after = self._slice(chunk.video_id, chunk.slice_id)
        self._count += chunk.chunk_id not in after
        same = isinstance(held, int) and self._holdings.holds(held, chunk, vector)
        after[chunk.chunk_id] = held if same and held is not None else _New(chunk, vector)

    def _accepted(self, batch: Batch) -> Batch:
        batch = batch.checked()
        if not batch.chunks:
            return batch
        if self._count == 0:  # an index without vectors takes the model of the first that come
            self._plan.model_revision, self._plan.dimension = batch.model_revision, batch.vectors.shape[1]
        if batch.model_revision != self._plan.model_revision:
            raise ModelMismatch(
                f"the index holds vectors of {self._plan.model_revision}, these are of {batch.model_revision}; "
                "vectors of two models cannot be compared: embed with the index's model, or embed everything again",
                metadata={"index_model": self._plan.model_revision, "model": batch.model_revision},
            )
        if batch.vectors.shape[1] != self._plan.dimension:
            message = f"vectors have {self._plan.dimension} numbers here, these have {batch.vectors.shape[1]}"
            raise InvalidArgument(message, field="chunks.vector")
        return batch

    def _remove(self, video_id: str) -> None:
        planned = {slice_id for of_video, slice_id in self._slices if of_video == video_id}
        for slice_id in {*self._held(video_id), *planned}:
            self._empty(video_id, slice_id)

    def _held(self, video_id: str) -> Mapping[str, Mapping[str, int]]:
        if video_id not in self._before:
            self._before[video_id] = self._holdings.slices_of(video_id)
        return self._before[video_id]

    def _slice(self, video_id: str, slice_id: str) -> dict[str, int | _New]:
        """Gives what a slice will hold, to look at or to change."""
        key = (video_id, slice_id)
        if key not in self._slices:
            self._slices[key] = dict(self._held(video_id).get(slice_id, {}))
        return self._slices[key]

    def _empty(self, video_id: str, slice_id: str) -> None:
        self._count -= len(self._slice(video_id, slice_id))
        self._slices[video_id, slice_id] = {}
