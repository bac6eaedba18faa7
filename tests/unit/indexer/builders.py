"""Chunks, vectors and changes for the indexer's tests."""

import hashlib
from collections.abc import Sequence

import numpy as np

from services.indexer.chunks import Batch, Chunk, Filter, Found, PutChunks, Query, ReplaceSlice, Vectors
from services.indexer.shard import Shard

DIMENSION = 16
MODEL = "test-model@1"


def vector_of(text: str, dimension: int = DIMENSION) -> Vectors:
    """A unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def chunk(video_id: str, text: str, *, slice_id: str = "00000", number: int = 0, language: str = "en") -> Chunk:
    """A chunk of 30 s."""
    start = 300.0 * int(slice_id) + 30.0 * number
    chunk_id = f"{video_id}/{slice_id}/{number:04d}"
    return Chunk(chunk_id, text, start, start + 30.0, marks=((0, start),), language=language)


def batch(chunks: Sequence[Chunk], *, model: str = MODEL, dimension: int = DIMENSION) -> Batch:
    """Chunks with the vectors of their texts."""
    vectors = [vector_of(item.text, dimension) for item in chunks]
    return Batch(chunks, np.stack(vectors) if vectors else np.empty((0, 0), np.float32), model)


def replace(
    video_id: str, *texts: str, slice_id: str = "00000", title: str = "A talk", model: str = MODEL
) -> ReplaceSlice:
    """The change that makes `texts` all there is of a slice."""
    chunks = [chunk(video_id, text, slice_id=slice_id, number=number) for number, text in enumerate(texts)]
    return ReplaceSlice(video_id, slice_id, title, batch(chunks, model=model))


def put(*chunks: Chunk, title: str = "A talk") -> PutChunks:
    """The change that adds chunks by id."""
    return PutChunks({item.video_id: title for item in chunks}, batch(chunks))


def ask(
    shard: Shard,
    text: str = "",
    *,
    near: str = "",
    k: int = 10,
    videos: Sequence[str] = (),
    language: str = "",
) -> Found:
    """Searches for words, for what is near the vector of a text, or both."""
    vector = vector_of(near) if near else None
    return shard.search(Query(vector, MODEL, text, k, Filter(frozenset(videos), language)))


def texts(found: Found) -> list[str]:
    """The texts found, best by keyword score, or else by semantic score, first."""
    by_keyword = any(hit.keyword_score is not None for hit in found.hits)
    scores = {
        hit.chunk.text: (hit.keyword_score if by_keyword else hit.semantic_score) or 0.0
        for hit in found.hits
        if not by_keyword or hit.keyword_score is not None
    }
    return sorted(scores, key=lambda text: -scores[text])
