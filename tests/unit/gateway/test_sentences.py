"""Sentence scores: they sharpen the ranking, and they say where to press play."""

import numpy as np
import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.gateway.highlight import Highlights, Query, best_sentence
from services.gateway.hit_columns import columns_of
from services.gateway.ranking import Candidates, dense_scores, fuse


def hit(chunk_id: str, score: float, sentences: list[float]) -> pb.ShardHit:
    chunk = pb.Chunk(chunk_id=chunk_id, video_id=chunk_id.split("/", maxsplit=1)[0])
    return pb.ShardHit(chunk=chunk, semantic_score=score, sentence_scores=sentences)


def test_the_chunk_with_the_sentence_comes_before_the_chunk_about_the_subject() -> None:
    answers = [pb.SearchShardResponse(hits=[hit("a/0/0", 0.6, [0.3, 0.2]), hit("b/0/0", 0.5, [0.1, 0.7])])]
    fused = fuse(Candidates(map(columns_of, answers)), semantic_floor=0.2)
    assert fused.chunk_ids == ["b/0/0", "a/0/0"]
    best = fused.hit("b/0/0")
    assert best.semantic is not None
    assert best.semantic.score == pytest.approx(0.6)
    assert list(best.sentence_scores) == pytest.approx([0.1, 0.7])


def test_the_floor_is_one_of_the_dense_score() -> None:
    answers = [pb.SearchShardResponse(hits=[hit("a/0/0", 0.3, [0.0]), hit("b/0/0", 0.1, [0.5])])]
    assert fuse(Candidates(map(columns_of, answers)), semantic_floor=0.2).chunk_ids == ["b/0/0"]


def test_a_chunk_without_sentence_vectors_counts_by_its_own() -> None:
    chunks, best_sentences = np.array([0.4, 0.4]), np.array([np.nan, 0.8])
    assert dense_scores(chunks, best_sentences) == pytest.approx([0.4, 0.6])


def test_play_starts_at_the_sentence_that_means_it() -> None:
    text = "Water boils first. Let the kettle rest half a minute. Then pour."
    starts = [0, 19, 54]
    nothing = Highlights([], [])
    assert best_sentence(nothing, starts, [0.1, 0.5, 0.2]) == 1
    assert best_sentence(nothing, starts) is None
    words = Query("pour water").find(text)
    assert best_sentence(words, starts, [0.5, 0.1, 0.45]) == 0
    assert best_sentence(Query("kettle rest").find(text), starts, [0.3, 0.2, 0.1]) == 1


def test_scores_that_do_not_fit_the_marks_are_left_aside() -> None:
    text = "One thing. Another thing said."
    assert best_sentence(Query("another").find(text), [0, 11], [0.9]) == 1
