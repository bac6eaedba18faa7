"""What the shard holds, what changes it, and what a search asks and gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        speaker: Who speaks, empty when unknown.
    """

    chunk_id: str
    text: str
    start_time: float
    end_time: float
    marks: tuple[tuple[int, float], ...] = ()
    language: str = ""
    sentence_vectors: bytes = b""
    speaker: str = ""

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
        """Gives the batch with vectors as the index keeps them: of unit length, rounded to float16.

        Raises:
            InvalidArgument: What `check` finds, or a vector is zero or has NaN or infinity.
        """
        self.check()
        return Batch(self.chunks, rounded(unit(self.vectors)), self.model_revision) if self.chunks else self

    def check(self) -> None:
        """Looks at everything but the numbers in the vectors.

        Raises:
            InvalidArgument: An id is malformed or comes twice, times run backwards, or a vector is missing.
        """
        seen: set[str] = set()
        for chunk in self.chunks:
            check_chunk(chunk)
            if chunk.chunk_id in seen:
                raise InvalidArgument(f"chunk {chunk.chunk_id!r} comes twice", field="chunks")
            seen.add(chunk.chunk_id)
        if not self.chunks:
            return
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


def rounded(vectors: Vectors) -> Vectors:
    """Gives vectors as float16 would keep them, in float32: a head that holds them so answers as the file will."""
    return vectors.astype(np.float16).astype(np.float32)


def unit_vector(vector: Vectors) -> Vectors:
    """Gives one vector (d,) at length one. Raises InvalidArgument when it has no direction."""
    length = math.sqrt(abs(float(np.dot(vector, vector))))
    if not math.isfinite(length) or length < 1e-12:
        raise InvalidArgument("the vector is zero or has NaN or infinity: it has no direction", field="vector")
    return vector if abs(length - 1) < 1e-6 else vector / np.float32(length)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is true of a whole video; it can change while its chunks stay.

    Attributes:
        title: Its title.
        collection: The collection it belongs to; empty for none.
        tags: Its tags.
        uploaded_at: When it was uploaded, in seconds since 1970; 0 when unknown.
        duration: Its length in seconds; None while unknown.
    """

    title: str = ""
    collection: str = ""
    tags: tuple[str, ...] = ()
    uploaded_at: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class ReplaceSlice:
    """Makes `batch` all there is of a slice."""

    video_id: str
    slice_id: str
    info: VideoInfo
    batch: Batch


@dataclass(frozen=True, slots=True)
class PutChunks:
    """Adds chunks of any videos, each replacing the one of its id. `infos` has every video named."""

    infos: Mapping[str, VideoInfo]
    batch: Batch


@dataclass(frozen=True, slots=True)
class RemoveVideo:
    """Takes everything of a video out."""

    video_id: str


@dataclass(frozen=True, slots=True)
class DescribeVideo:
    """Changes what is true of a whole video; nothing happens when none of it is here."""

    video_id: str
    info: VideoInfo


@dataclass(frozen=True, slots=True)
class DropSlots:
    """Takes everything of some slots out."""

    slots: frozenset[int]


Change = ReplaceSlice | PutChunks | RemoveVideo | DescribeVideo | DropSlots

MAX_FILTER_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks may be found: those for which every field that is set holds.

    Attributes:
        video_ids: Only of these videos; empty means all.
        language: Only in this language; empty means any.
        collections: Only of videos of one of these collections; empty means any.
        speakers: Only by one of these speakers; empty means any.
        tags: Only of videos with every one of these tags.
        uploaded_since: Only of videos uploaded then or later, in seconds since 1970.
        uploaded_before: Only of videos uploaded before then, in seconds since 1970.
        min_duration: Only of videos at least this long, in seconds.
        max_duration: Only of videos at most this long, in seconds.

    Raises:
        InvalidArgument: A list is longer than 100,000.
    """

    video_ids: frozenset[str] = frozenset()
    language: str = ""
    collections: frozenset[str] = frozenset()
    speakers: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    uploaded_since: float | None = None
    uploaded_before: float | None = None
    min_duration: float | None = None
    max_duration: float | None = None

    def __post_init__(self) -> None:
        for name in ("video_ids", "collections", "speakers", "tags"):
            if (given := len(getattr(self, name))) > MAX_FILTER_VALUES:
                message = f"the filter names {given} {name}; {MAX_FILTER_VALUES} at most: use a collection or a tag"
                raise InvalidArgument(message, field=f"filter.{name}")

    @property
    def of_videos(self) -> bool:
        """Whether it keeps whole videos out."""
        return self != Filter(language=self.language, speakers=self.speakers)

    @property
    def passes_all(self) -> bool:
        """Whether it keeps nothing out."""
        return self == _NO_FILTER


_NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    Attributes:
        vector: float32, shape (dimension,); None to skip the dense leg.
        model_revision: The model `vector` is of.
        text: What to look for; empty to skip the keyword leg.
        k: Hits a leg gives at most.
        filter: Which chunks may be found.
        slots: Slots to answer for; None means every slot held.
        ids_only: Leaves the texts and the sentences' scores out.
    """

    vector: Vectors | None
    model_revision: str
    text: str
    k: int
    filter: Filter = _NO_FILTER
    slots: frozenset[int] | None = None
    ids_only: bool = False


class Hit(NamedTuple):
    """A chunk found. A score is None where its leg did not run or, for the keyword leg, did not find the chunk.

    Attributes:
        number: Number of the chunk in this shard; never given to another chunk or another version of this one.
        record: The chunk, as `record.encode` gives it.
        title: Title of its video.
        semantic_score: Cosine.
        keyword_score: BM25.
        sentence_scores: Cosine of each of its sentences; empty without a query vector, or without theirs.
    """

    number: int
    record: bytes
    title: str
    semantic_score: float | None
    keyword_score: float | None
    sentence_scores: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gives.

    Attributes:
        hits: The chunks found, in no order.
        legs: Legs that ran.
        applied_sequence: Stream sequence applied at that moment.
        model_revision: Model of the vectors held; empty while there are none.
    """

    hits: list[Hit]
    legs: tuple[str, ...]
    applied_sequence: int
    model_revision: str = ""
