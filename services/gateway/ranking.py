"""From the shards' lists to one answer: global ranks, reciprocal rank fusion, grouping by video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from earmark.internal.v1 import shard_service_pb2 as pb

RRF_K = 60
"""The constant of reciprocal rank fusion, score = Σ 1 / (k + rank). 60 is the value of Cormack, Clarke and Büttcher,
"Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009."""


class LegScore(NamedTuple):
    """What one leg says of a chunk."""

    score: float
    """BM25, or the mean of the cosines of the chunk and of its best sentence."""
    rank: int
    """Position in the leg's list over all shards, from 1."""


@dataclass(slots=True)
class RankedHit:
    """A chunk with its place in each leg."""

    chunk: pb.Chunk
    score: float = 0.0
    """Fused score; comparable within one answer only."""
    semantic: LegScore | None = None
    keyword: LegScore | None = None
    sentence_scores: Sequence[float] = ()
    """Cosine of each of its sentences; empty where they were not asked for or are not known."""


@dataclass(slots=True)
class VideoHits:
    """The moments of one video, best first."""

    video_id: str
    best: RankedHit
    more: list[RankedHit] = field(default_factory=list)


def fuse(responses: Iterable[pb.SearchShardResponse], *, semantic_floor: float) -> list[RankedHit]:
    """Merges the shards' hits into one list, best first.

    Each leg is ranked over all shards first: a shard's own ranks say nothing about another's. BM25 scores of two
    shards are compared as they are, which holds as long as videos fall into shards evenly.

    Args:
        responses: Answers of the shards. A chunk that two shards hold (while a slot moves) counts once.
        semantic_floor: Dense score below which the dense leg found nothing; the nearest of all chunks is still near
            to nothing when the query is gibberish.

    Returns:
        Chunks found by a leg, by fused score, then cosine, then id, so that the order is always the same.
    """
    hits: dict[str, RankedHit] = {}
    semantic: list[tuple[float, str]] = []
    keyword: list[tuple[float, str]] = []
    for response in responses:
        for hit in response.hits:
            sentence_scores = hit.sentence_scores
            semantic_score = dense_score(hit.semantic_score, sentence_scores)
            near = hit.HasField("semantic_score") and semantic_score >= semantic_floor
            said = hit.HasField("keyword_score")
            if not (near or said):
                continue
            chunk = hit.chunk
            chunk_id = chunk.chunk_id
            if chunk_id in hits:
                continue
            hits[chunk_id] = RankedHit(chunk, sentence_scores=sentence_scores)
            # Scores are negated, so that a plain sort gives the best first and equals by their ids.
            if near:
                semantic.append((-semantic_score, chunk_id))
            if said:
                keyword.append((-hit.keyword_score, chunk_id))
    semantic.sort()
    keyword.sort()
    for rank, (score, chunk_id) in enumerate(semantic, start=1):
        ranked = hits[chunk_id]
        ranked.score = 1.0 / (RRF_K + rank)
        ranked.semantic = LegScore(-score, rank)
    for rank, (score, chunk_id) in enumerate(keyword, start=1):
        ranked = hits[chunk_id]
        ranked.score += 1.0 / (RRF_K + rank)
        ranked.keyword = LegScore(-score, rank)
    order = sorted(
        (-ranked.score, -ranked.semantic.score if ranked.semantic else 0.0, chunk_id)
        for chunk_id, ranked in hits.items()
    )
    return [hits[chunk_id] for _, _, chunk_id in order]


def dense_score(chunk_score: float, sentence_scores: Sequence[float]) -> float:
    """Gives what a chunk is worth to the dense leg: the mean of its own cosine and of its best sentence's.

    A chunk's vector says what it is about, a sentence's what is said. Together they find the right chunk first in
    44 % of TutorialVQA's questions, the chunk's alone in 33 % (docs/benchmarks.md).
    """
    return (chunk_score + max(sentence_scores)) / 2 if sentence_scores else chunk_score


def group(hits: Sequence[RankedHit], *, more: int) -> list[VideoHits]:
    """Groups hits by video: videos by their best moment, in each up to `more` further moments."""
    videos: dict[str, VideoHits] = {}
    for hit in hits:
        video_id = hit.chunk.video_id
        video = videos.get(video_id)
        if video is None:
            videos[video_id] = VideoHits(video_id, hit)
        elif len(video.more) < more:
            video.more.append(hit)
    return list(videos.values())
