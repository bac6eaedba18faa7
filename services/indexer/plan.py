"""What a list of changes comes to: which chunks go, which come, which stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from services.common.errors import EarmarkError, InvalidArgument, ModelMismatch
from services.indexer.chunks import Batch, Change, Chunk, Ids, PutChunks, RemoveVideo, ReplaceSlice, Vectors
from services.indexer.payloads import PayloadTable


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
        titles: Titles by video.
        refused: Changes that were not taken in, by place in the list, and why.
        model_revision: Model of the vectors after the change; empty when none remain.
        dimension: Length of the vectors after the change; 0 when none remain.
    """

    removed: list[int] = field(default_factory=list)
    added: list[Chunk] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    refused: dict[int, EarmarkError] = field(default_factory=dict)
    model_revision: str = ""
    dimension: int = 0


class Planner:
    """Works out a `Plan` against the chunks there are.

    Args:
        payloads: The chunks there are.
        model_revision: The model of their vectors; empty when there are none.
        dimension: The length of their vectors; 0 when there are none.
        stored: Gives the vectors of numbers.
    """

    def __init__(
        self, payloads: PayloadTable, *, model_revision: str, dimension: int, stored: Callable[[Ids], Vectors]
    ) -> None:
        self._payloads = payloads
        self._stored = stored
        self._count = len(payloads)
        self._plan = Plan(model_revision=model_revision, dimension=dimension)
        self._slices: dict[tuple[str, str], dict[str, int | _New]] = {}

    def plan(self, changes: list[Change]) -> Plan:
        """Gives what the changes come to."""
        for place, change in enumerate(changes):
            try:
                self._take(change)
            except EarmarkError as error:
                self._plan.refused[place] = error
        for (video_id, slice_id), after in self._slices.items():
            before = self._payloads.slice_numbers(video_id, slice_id)
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
                self._plan.titles[change.video_id] = change.title
            case PutChunks():
                batch = self._accepted(change.batch)
                for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
                    self._put(chunk, vector, self._slice(chunk.video_id, chunk.slice_id).get(chunk.chunk_id))
                self._plan.titles.update(change.titles)
            case RemoveVideo():
                planned = {slice_id for video_id, slice_id in self._slices if video_id == change.video_id}
                for slice_id in {*self._payloads.slices_of(change.video_id), *planned}:
                    self._empty(change.video_id, slice_id)
            case _:
                assert_never(change)

    def _put(self, chunk: Chunk, vector: Vectors, held: int | _New | None) -> None:
        """Puts a chunk into its slice; one that is held just so already keeps its number, and costs nothing."""
        after = self._slice(chunk.video_id, chunk.slice_id)
        self._count += chunk.chunk_id not in after
        same = isinstance(held, int) and self._unchanged(held, chunk, vector)
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

    def _slice(self, video_id: str, slice_id: str) -> dict[str, int | _New]:
        """Gives what a slice will hold, to look at or to change."""
        key = (video_id, slice_id)
        if key not in self._slices:
            self._slices[key] = dict(self._payloads.slice_numbers(video_id, slice_id))
        return self._slices[key]

    def _empty(self, video_id: str, slice_id: str) -> None:
        self._count -= len(self._slice(video_id, slice_id))
        self._slices[video_id, slice_id] = {}

    def _unchanged(self, number: int, chunk: Chunk, vector: Vectors) -> bool:
        if self._payloads.chunk(number) != chunk:
            return False
        return bool(np.array_equal(self._stored(np.array([number], np.int64))[0], vector))
