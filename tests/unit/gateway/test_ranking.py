"""Fusion of the shards' lists."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.gateway.hit_columns import columns_of
from services.gateway.ranking import RRF_K, Candidates, RankedHit, group
from services.gateway.ranking import fuse as fused_with_more


def hit(chunk_id: str, semantic: float | None = None, keyword: float | None = None) -> pb.ShardHit:
    chunk = pb.Chunk(chunk_id=chunk_id, video_id=chunk_id.partition("/")[0])
    return pb.ShardHit(chunk=chunk, semantic_score=semantic, keyword_score=keyword)


def response(*hits: pb.ShardHit) -> pb.SearchShardResponse:
    return pb.SearchShardResponse(hits=hits)


def fuse(responses: Sequence[pb.SearchShardResponse], *, semantic_floor: float) -> list[RankedHit]:
    fused = fused_with_more(Candidates(map(columns_of, responses)), semantic_floor=semantic_floor)
    return [fused.hit(chunk_id) for chunk_id in fused.chunk_ids]


def order(*responses: pb.SearchShardResponse, floor: float = 0.1) -> list[str]:
    return [ranked.chunk.chunk_id for ranked in fuse(responses, semantic_floor=floor)]


def test_ranks_are_global_over_shards() -> None:
    first = response(hit("a/1", semantic=0.9), hit("a/2", semantic=0.5))
    second = response(hit("b/1", semantic=0.8), hit("b/2", semantic=0.4))
    fused = fuse([first, second], semantic_floor=0.1)
    assert [(r.chunk.chunk_id, r.semantic.rank) for r in fused if r.semantic] == [
        ("a/1", 1),
        ("b/1", 2),
        ("a/2", 3),
        ("b/2", 4),
    ]


def test_score_is_reciprocal_rank_fusion() -> None:
    fused = fuse([response(hit("a/1", 0.9, 3.0), hit("b/1", 0.8, 7.0), hit("c/1", None, 5.0))], semantic_floor=0.1)
    scores = {ranked.chunk.chunk_id: ranked.score for ranked in fused}
    assert scores == pytest.approx(
        {"a/1": 1 / (RRF_K + 1) + 1 / (RRF_K + 3), "b/1": 1 / (RRF_K + 2) + 1 / (RRF_K + 1), "c/1": 1 / (RRF_K + 2)}
    )
    assert order(response(hit("a/1", 0.9, 3.0), hit("b/1", 0.8, 7.0), hit("c/1", None, 5.0))) == ["b/1", "a/1", "c/1"]


def test_a_hit_of_both_legs_beats_a_better_hit_of_one() -> None:
    assert order(response(hit("a/1", semantic=0.9), hit("b/1", 0.8, 1.0)))[0] == "b/1"


def test_far_vectors_are_not_found_but_their_words_are() -> None:
    fused = fuse([response(hit("a/1", semantic=0.05), hit("b/1", 0.05, 2.0))], semantic_floor=0.1)
    assert [(ranked.chunk.chunk_id, ranked.semantic) for ranked in fused] == [("b/1", None)]


def test_zero_scores_count_as_found() -> None:
    assert order(response(hit("a/1", semantic=0.0), hit("b/1", keyword=0.0)), floor=0.0) == ["a/1", "b/1"]


def test_a_chunk_held_twice_counts_once() -> None:
    fused = fuse([response(hit("a/1", 0.5, 2.0)), response(hit("a/1", 0.5, 2.0), hit("b/1", 0.4))], semantic_floor=0.1)
    assert [ranked.chunk.chunk_id for ranked in fused] == ["a/1", "b/1"]
    assert fused[1].semantic is not None
    assert fused[1].semantic.rank == 2


def test_ties_are_broken_the_same_way_whatever_the_order() -> None:
    hits = [hit("b/1", 0.5), hit("a/1", 0.5), hit("c/1", 0.5)]
    assert order(response(*hits)) == order(response(*reversed(hits))) == ["a/1", "b/1", "c/1"]


def test_videos_come_by_their_best_moment_with_some_more() -> None:
    fused = fuse(
        [
            response(
                hit("a/1", 0.9), hit("b/1", 0.8), hit("a/2", 0.7), hit("a/3", 0.6), hit("a/4", 0.5), hit("b/2", 0.4)
            )
        ],
        semantic_floor=0.1,
    )
    videos = group([ranked.chunk.chunk_id for ranked in fused], more=2)
    assert [(video.chunk_ids[0], video.chunk_ids[1:]) for video in videos] == [
        ("a/1", ["a/2", "a/3"]),
        ("b/1", ["b/2"]),
    ]


def test_columns_are_read_as_they_are_described() -> None:
    chunks = [pb.Chunk(chunk_id=name, video_id="a", text=name) for name in ("a/1", "a/2", "a/3")]
    columns = pb.HitColumns(
        chunk_ids=[chunk.chunk_id for chunk in chunks],
        chunks=[chunk.SerializeToString() for chunk in chunks],
        semantic_scores=struct.pack("<3f", 0.5, 0.25, math.nan),
        keyword_scores=struct.pack("<3f", math.nan, 3.0, 2.0),
        best_sentence_scores=struct.pack("<3f", math.nan, 0.75, math.nan),
        sentence_scores=[b"", struct.pack("<2f", -0.5, 0.75), b""],
    )
    fused = fused_with_more(Candidates([pb.HitColumns(), columns]), semantic_floor=0.1)
    assert fused.chunk_ids == ["a/2", "a/1", "a/3"]
    best, near, said = map(fused.hit, fused.chunk_ids)
    assert [hit.chunk for hit in (near, best, said)] == chunks
    assert (best.semantic, best.keyword, best.sentence_scores) == ((0.5, 2), (3.0, 1), [-0.5, 0.75])
    assert (said.semantic, said.keyword, said.sentence_scores) == (None, (2.0, 2), [])
    assert (near.semantic, near.keyword, near.sentence_scores) == ((0.5, 1), None, [])


def test_nothing_found_is_nothing() -> None:
    assert fuse([response(), response()], semantic_floor=0.1) == []
    assert group([], more=2) == []
