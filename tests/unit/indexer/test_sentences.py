"""Sentence vectors: kept with the chunk, compared with the query."""

import numpy as np
import pytest

from services.common.errors import InvalidArgument
from services.common.videos.model import ChunkRecord, quantized
from services.indexer.chunks import Batch, Chunk, PutChunks, Query
from services.indexer.shard import Shard

DIMENSION = 8
ROWS = np.eye(DIMENSION, dtype=np.float32)


def put(chunk: Chunk) -> PutChunks:
    return PutChunks(infos={}, batch=Batch([chunk], ROWS[:1], "m"))


def chunk(sentences: np.ndarray) -> Chunk:
    marks = tuple((10 * n, 2.0 * n) for n in range(len(sentences)))
    return Chunk("v/00000/0000", "first one. second one.", 0, 4, marks, "en", quantized(sentences).tobytes())


def test_a_search_gives_the_cosine_of_each_sentence() -> None:
    shard = Shard()
    sentences = np.stack([ROWS[1], (ROWS[0] + ROWS[2]) / np.sqrt(2)])
    assert not shard.apply([put(chunk(sentences))]).refused
    found = shard.search(Query(vector=ROWS[0], model_revision="m", text="", k=5))
    assert found.hits[0].sentence_scores == pytest.approx([0.0, 1 / np.sqrt(2)], abs=0.01)
    words = shard.search(Query(vector=None, model_revision="", text="second", k=5))
    assert list(words.hits[0].sentence_scores) == []
    shard.close()


def test_vectors_that_do_not_fit_the_sentences_are_refused() -> None:
    shard = Shard()
    wrong = Chunk("v/00000/0000", "first one. second one.", 0, 4, ((0, 0.0), (11, 2.0)), "en", b"\x01" * DIMENSION)
    applied = shard.apply([put(wrong)])
    assert isinstance(applied.refused[0], InvalidArgument)
    assert shard.chunk_count == 0
    shard.close()


def test_a_stored_chunk_comes_back_whole() -> None:
    vectors = quantized(ROWS[:2])
    record = ChunkRecord("v/00000/0000", "00000", "a b", 0.0, 2.0, ROWS[0], [(0, 0.0), (2, 1.0)], "en", vectors)
    again = ChunkRecord.from_document(record.to_document())
    np.testing.assert_array_equal(again.sentence_vectors, vectors)
    old = record.to_document()
    del old["sentence_embeddings"]
    assert ChunkRecord.from_document(old).sentence_vectors.shape == (0, DIMENSION)
