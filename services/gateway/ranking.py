"""From the shards' lists to one answer: global ranks, reciprocal rank fusion, grouping by video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from earmark.internal.v1 import shard_service_pb2 as pb

RRF_K = 60
"""The constant of reciprocal rank fusion, score = Σ 1 / (k + rank). 60 is the value of Cormack, Clarke and Büttcher,
"Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009."""


_NOT_FOUND = -math.inf
_PLACE = itemgetter(0, 1)


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


class Merged(NamedTuple):
    """The shards' hits as one list for each leg, best first; equals by their ids."""

    semantic: list[tuple[float, str, pb.ShardHit]]
    """Negated cosine of the chunk, id and hit."""
    keyword: list[tuple[float, str, pb.ShardHit]]
    """Negated BM25, id and hit."""


class Fused(NamedTuple):
    """The merged answer."""

    hits: list[RankedHit]
    """Chunks found by a leg, by fused score, then semantic score, then id, so that the order is always the same."""
    cut_off: bool
    """Whether a leg found as many as were asked for, and may find more."""


def share(depth: int, shards: int) -> int:
    """Gives how many chunks to ask of each shard when the best `depth` of all are wanted.

    Videos fall into shards by a hash: of the best, a shard holds a binomial number. Four deviations and a bit more,
    since the chunks of one video lie together, make it rare that a shard has to be asked again
    (`bench/index/merge.py` counts it).
    """
    mean = depth / shards
    return min(depth, math.ceil(mean + 4 * math.sqrt(mean) + 4))


def cut_short(responses: Mapping[int, pb.SearchShardResponse], *, asked: int, depth: int) -> set[int]:
    """Gives the shards that may hold more of the best `depth` of a leg than the `asked` they were asked for."""
    short: set[int] = set()
    for scores in (_semantic_scores, _keyword_scores):
        lists = {shard: sorted(scores(response.hits), reverse=True) for shard, response in responses.items()}
        worst = _threshold([score for found in lists.values() for score in found], depth)
        # Whatever such a shard did not give is at most as good as its last.
        short.update(shard for shard, found in lists.items() if len(found) >= asked and worst < found[asked - 1])
    return short


def merge(responses: Iterable[pb.SearchShardResponse], *, depth: int) -> Merged:
    """Gives the best `depth` of each leg over all shards.

    A shard's own ranks say nothing about another's, so scores are compared. BM25 scores of two shards are compared as
    they are, which holds as long as videos fall into shards evenly. Numbers first: looking into a message costs more
    than comparing a thousand floats, so it is done for those that are among the best only.
    """
    hits = [hit for response in responses for hit in response.hits]
    return Merged(_best(hits, _semantic_scores(hits), depth), _best(hits, _keyword_scores(hits), depth))


def fuse(
    responses: Iterable[pb.SearchShardResponse],
    *,
    semantic_floor: float,
    semantic_floor_alone: float | None = None,
    depth: int = 1000,
) -> Fused:
    """Merges the shards' hits into one list, best first, by reciprocal rank.

    Args:
        responses: Answers of the shards. A chunk that two shards gave counts once.
        semantic_floor: Dense score below which the dense leg found nothing; the nearest of all chunks is still near
            to nothing when the query is gibberish.
        semantic_floor_alone: The same, where no word of the query is said anywhere; `semantic_floor` if left out.
        depth: How many chunks of each leg count.
    """
    merged = merge(responses, depth=depth)
    floor = semantic_floor if semantic_floor_alone is None or merged.keyword else semantic_floor_alone
    hits: dict[str, RankedHit] = {}
    near: list[tuple[float, str]] = []
    deep = 0
    # The dense leg also scores what only the words found, so both lists are looked at for it.
    for place, (_, chunk_id, hit) in enumerate([*merged.semantic, *merged.keyword]):
        if chunk_id in hits:
            continue
        sentence_scores = hit.sentence_scores
        semantic_score = hit.semantic_score
        score = dense_score(semantic_score, sentence_scores)
        if score >= floor and (semantic_score or hit.HasField("semantic_score")):
            near.append((-score, chunk_id))
            deep += place < len(merged.semantic)
        elif place < len(merged.semantic):
            continue  # unless the words found it too, and it comes again
        hits[chunk_id] = RankedHit(hit.chunk, sentence_scores=sentence_scores)
    near.sort()
    for rank, (score, chunk_id) in enumerate(near, start=1):
        ranked = hits[chunk_id]
        ranked.score = 1.0 / (RRF_K + rank)
        ranked.semantic = LegScore(-score, rank)
    for rank, (score, chunk_id, _) in enumerate(merged.keyword, start=1):
        ranked = hits[chunk_id]
        ranked.score += 1.0 / (RRF_K + rank)
        ranked.keyword = LegScore(-score, rank)
    order = sorted(
        (-ranked.score, -ranked.semantic.score if ranked.semantic else 0.0, chunk_id)
        for chunk_id, ranked in hits.items()
    )
    return Fused([hits[chunk_id] for _, _, chunk_id in order], deep >= depth or len(merged.keyword) >= depth)


def _semantic_scores(hits: Iterable[pb.ShardHit]) -> list[float]:
    # Zero may stand for unset; asking for every hit would double the time.
    return [hit.semantic_score or (0.0 if hit.HasField("semantic_score") else _NOT_FOUND) for hit in hits]


def _keyword_scores(hits: Iterable[pb.ShardHit]) -> list[float]:
    return [hit.keyword_score or (0.0 if hit.HasField("keyword_score") else _NOT_FOUND) for hit in hits]


def _threshold(scores: list[float], depth: int) -> float:
    """Gives the `depth`-th best score; below all of them when there are fewer."""
    return sorted(scores, reverse=True)[depth - 1] if len(scores) >= depth else _NOT_FOUND


def _best(hits: list[pb.ShardHit], scores: list[float], depth: int) -> list[tuple[float, str, pb.ShardHit]]:
    worst = _threshold(scores, depth)
    seen: dict[str, tuple[float, str, pb.ShardHit]] = {}
    for score, hit in zip(scores, hits, strict=True):
        if score >= worst and score != _NOT_FOUND:
            chunk_id = hit.chunk.chunk_id
            seen.setdefault(chunk_id, (-score, chunk_id, hit))
    return sorted(seen.values(), key=_PLACE)[:depth]


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
