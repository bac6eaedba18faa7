"""What the shard holds, what changes it, and what a search asks and gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidArgument

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """About 30 s of transcript, without its vector.

    Attributes:
        chunk_id: `<video_id>/<slice_id>/<number>`.
        text: What is said.
        start_time: Seconds in the media's clock.
        end_time: Seconds in the media's clock.
        marks: For each sentence its first code point in `text` and its start in seconds.
        language: ISO 639-1, empty when unknown.
        sentence_vectors: The vectors of its sentences, one after the other: int8, a normalised vector times 127.
    """

    chunk_id: str
    text: str
    start_time: float
    end_time: float
    marks: tuple[tuple[int, float], ...] = ()
    language: str = ""
    sentence_vectors: bytes = b""

    @property
    def video_id(self) -> str:
        """The video it is of."""
        return self.chunk_id.split("/", 1)[0]

    @property
    def slice_id(self) -> str:
        """The slice of the video it is of."""
        return self.chunk_id.split("/", 2)[1]


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks with their vectors.

    Attributes:
        chunks: The chunks.
        vectors: float32, shape (len(chunks), dimension), L2-normalised.
        model_revision: The model the vectors are of.
    """

    chunks: Sequence[Chunk]
    vectors: Vectors
    model_revision: str

    def checked(self) -> Batch:
        """Gives the batch with vectors of exactly unit length.

        Raises:
            InvalidArgument: An id is malformed or comes twice, times run backwards, or a vector is missing, zero or has
                NaN or infinity.
        """
        seen: set[str] = set()
        for chunk in self.chunks:
            check_chunk(chunk)
            if chunk.chunk_id in seen:
                raise InvalidArgument(f"chunk {chunk.chunk_id!r} comes twice", field="chunks")
            seen.add(chunk.chunk_id)
        if not self.chunks:
            return self
        if not self.model_revision:
            raise InvalidArgument("name the model the vectors are of", field="model_revision")
        if self.vectors.ndim != 2 or self.vectors.shape[0] != len(self.chunks) or self.vectors.shape[1] == 0:
            raise InvalidArgument(
                f"{len(self.chunks)} chunks need as many vectors of one length; the vectors are {self.vectors.shape}",
                field="chunks.vector",
            )
        for chunk in self.chunks:
            if len(chunk.sentence_vectors) not in {0, len(chunk.marks) * self.vectors.shape[1]}:
                raise InvalidArgument(
                    f"chunk {chunk.chunk_id!r} has {len(chunk.marks)} sentences and {len(chunk.sentence_vectors)} bytes"
                    f" of sentence vectors; {self.vectors.shape[1]} bytes belong to each",
                    field="chunks.sentence_vectors",
                )
        return Batch(self.chunks, unit(self.vectors), self.model_revision)


def check_chunk(chunk: Chunk) -> None:
    """Raises InvalidArgument when the id is not `<video>/<slice>/<number>` or the times are not a span."""
    parts = chunk.chunk_id.split("/")
    if len(parts) != 3 or not all(parts):
        message = f"chunk id {chunk.chunk_id[:80]!r} is not <video_id>/<slice_id>/<number>"
        raise InvalidArgument(message, field="chunks.chunk_id")
    if not 0 <= chunk.start_time <= chunk.end_time < float("inf"):
        message = f"chunk {chunk.chunk_id!r} goes from {chunk.start_time} s to {chunk.end_time} s"
        raise InvalidArgument(message, field="chunks.start_offset")


def unit(vectors: Vectors) -> Vectors:
    """Gives the vectors (n, d) at length one, float32 and contiguous.

    Raises:
        InvalidArgument: One is zero or has NaN or infinity, and so has no direction.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    good = np.isfinite(lengths) & (lengths > 1e-12)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InvalidArgument(f"vector {row} is zero or has NaN or infinity: it has no direction", field="vector")
    if np.abs(lengths - 1).max(initial=0) < 1e-6:
        return vectors
    return np.ascontiguousarray(vectors / lengths[:, None], dtype=np.float32)


def unit_vector(vector: Vectors) -> Vectors:
    """Gives one vector (d,) at length one. Raises InvalidArgument when it has no direction."""
    length = math.sqrt(abs(float(np.dot(vector, vector))))
    if not math.isfinite(length) or length < 1e-12:
        raise InvalidArgument("the vector is zero or has NaN or infinity: it has no direction", field="vector")
    return vector if abs(length - 1) < 1e-6 else vector / np.float32(length)


@dataclass(frozen=True, slots=True)
class ReplaceSlice:
    """Makes `batch` all there is of a slice."""

    video_id: str
    slice_id: str
    title: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class PutChunks:
    """Adds chunks of any videos, each replacing the one of its id. `titles` has the title of every video named."""

    titles: dict[str, str]
    batch: Batch


@dataclass(frozen=True, slots=True)
class RemoveVideo:
    """Takes everything of a video out."""

    video_id: str


Change = ReplaceSlice | PutChunks | RemoveVideo


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks may be found.

    Attributes:
        video_ids: Only of these videos; empty means all.
        language: Only in this language; empty means any.
    """

    video_ids: frozenset[str] = frozenset()
    language: str = ""

    @property
    def passes_all(self) -> bool:
        """Whether it keeps nothing out."""
        return not self.video_ids and not self.language


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    Attributes:
        vector: float32, shape (dimension,); None to skip the dense leg.
        model_revision: The model `vector` is of.
        text: What to look for; empty to skip the keyword leg.
        k: Hits a leg gives at most.
        filter: Which chunks may be found.
    """

    vector: Vectors | None
    model_revision: str
    text: str
    k: int
    filter: Filter = field(default_factory=Filter)


class Hit(NamedTuple):
    """A chunk found. A score is None where its leg did not run or, for the keyword leg, did not find the chunk.

    Attributes:
        number: Number of the chunk in this shard; never given to another chunk or another version of this one.
        chunk: The chunk.
        title: Title of its video.
        semantic_score: Cosine.
        keyword_score: BM25.
        sentence_scores: Cosine of each of its sentences; empty without a query vector, or without theirs.
    """

    number: int
    chunk: Chunk
    title: str
    semantic_score: float | None
    keyword_score: float | None
    sentence_scores: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gives: the hits, the legs that ran, and the stream sequence applied at that moment."""

    hits: list[Hit]
    legs: tuple[str, ...]
    applied_sequence: int
