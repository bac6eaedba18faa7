"""Chunks, vectors and changes for the indexer's tests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ulid import ULID

from services.common.ids import SLOTS
from services.indexer.build import ORIGINS, Job, Source, build
from services.indexer.chunks import Batch, Chunk, Filter, Found, Hit, PutChunks, Query, ReplaceSlice, Vectors, VideoInfo
from services.indexer.dense import DensePolicy
from services.indexer.record import decode
from services.indexer.segment import Segment
from services.indexer.shard import Shard, SlotDigest
from services.indexer.snapshot import SnapshotFolder, State
from services.indexer.view import PartView

DIMENSION = 16
MODEL = "test-model@1"
ALL_SLOTS = frozenset(range(SLOTS))


def vector_of(text: str, dimension: int = DIMENSION) -> Vectors:
    """A unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def chunk(
    video_id: str, text: str, *, slice_id: str = "00000", number: int = 0, language: str = "en", speaker: str = ""
) -> Chunk:
    """A chunk of 30 s."""
    start = 300.0 * int(slice_id) + 30.0 * number
    chunk_id = f"{video_id}/{slice_id}/{number:04d}"
    return Chunk(chunk_id, text, start, start + 30.0, marks=((0, start),), language=language, speaker=speaker)


def batch(chunks: Sequence[Chunk], *, model: str = MODEL, dimension: int = DIMENSION) -> Batch:
    """Chunks with the vectors of their texts."""
    vectors = [vector_of(item.text, dimension) for item in chunks]
    return Batch(chunks, np.stack(vectors) if vectors else np.empty((0, 0), np.float32), model)


def replace(
    video_id: str,
    *texts: str,
    slice_id: str = "00000",
    title: str = "A talk",
    model: str = MODEL,
    info: VideoInfo | None = None,
) -> ReplaceSlice:
    """The change that makes `texts` all there is of a slice."""
    chunks = [chunk(video_id, text, slice_id=slice_id, number=number) for number, text in enumerate(texts)]
    return ReplaceSlice(video_id, slice_id, info or VideoInfo(title=title), batch(chunks, model=model))


def put(*chunks: Chunk, title: str = "A talk") -> PutChunks:
    """The change that adds chunks by id."""
    return PutChunks({item.video_id: VideoInfo(title=title) for item in chunks}, batch(chunks))


def ask(
    shard: Shard,
    text: str = "",
    *,
    near: str = "",
    k: int = 10,
    videos: Sequence[str] = (),
    language: str = "",
    chosen: Filter | None = None,
    slots: frozenset[int] | None = None,
) -> Found:
    """Searches for words, for what is near the vector of a text, or both."""
    vector = vector_of(near) if near else None
    return shard.search(Query(vector, MODEL, text, k, chosen or Filter(frozenset(videos), language), slots))


def found_chunk(hit: Hit) -> Chunk:
    """The chunk of a hit, without its sentence vectors."""
    return decode(hit.record)


def texts(found: Found) -> list[str]:
    """The texts found, best by keyword score, or else by semantic score, first."""
    by_keyword = any(hit.keyword_score is not None for hit in found.hits)
    scores = {
        found_chunk(hit).text: (hit.keyword_score if by_keyword else hit.semantic_score) or 0.0
        for hit in found.hits
        if not by_keyword or hit.keyword_score is not None
    }
    return sorted(scores, key=lambda text: -scores[text])


def digest(shard: Shard) -> list[SlotDigest]:
    """What tells shards apart that hold something else."""
    return [one for one in shard.digests(range(SLOTS)) if one.chunks]


class Building:
    """A segment being made of some parts, as the compactor does it, step by step and in this process."""

    def __init__(self, shard: Shard, sources: Sequence[PartView], folder: SnapshotFolder) -> None:
        self._shard = shard
        self._sources = [source for source in sources if source.alive.count]
        self._all = sources
        self._target = folder.segments / str(ULID()).lower()
        if not self._sources:
            return
        view = shard.view
        given = []
        for source in self._sources:
            columns = source.part.folder if isinstance(source.part, Segment) else folder.work / str(ULID())
            if not isinstance(source.part, Segment):
                source.part.dump(columns)
            given.append(Source(columns, source.alive.bits.tobytes()))
        build(Job(self._target, given, view.dimension, view.model_revision, policy=DensePolicy()))

    def finish(self) -> None:
        """Lets the segment take over."""
        if self._sources:
            origins = np.load(self._target / ORIGINS)
            (self._target / ORIGINS).unlink()
            self._shard.take_over(self._target, self._sources, origins)
        self._shard.discard(self._all)


def write_snapshot(folder: SnapshotFolder, shard: Shard) -> Path:
    """Seals what is in memory and takes a snapshot of all of it."""
    sequence = shard.applied_sequence
    shard.freeze()
    if shard.frozen:
        Building(shard, shard.frozen, folder).finish()
    path = folder.write(State.of(shard, applied_sequence=sequence, slots=ALL_SLOTS))
    folder.prune(lambda: {part.part.segment_id for part in shard.segments})
    return path
