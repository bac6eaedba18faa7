"""From the shards' lists to one answer: global ranks, reciprocal rank fusion, grouping by video."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np

from earmark.internal.v1 import shard_service_pb2 as pb

RRF_K = 60
"""The constant of reciprocal rank fusion, score = Σ 1 / (k + rank). 60 is the value of Cormack, Clarke and Büttcher,
"Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009."""


_PLACE = itemgetter(0, 1)
_LEAST = -1e300


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


_Score = Literal["semantic_score", "keyword_score"]
Placed = tuple[float, str, pb.ShardHit]
"""Negated score of a leg, id of the chunk, and the hit: sorted, the best comes first, equals by their ids."""


class Candidates:
    """The shards' hits, with their scores as plain numbers.

    Looking into a message costs more than comparing ten numbers: of every hit the scores are read, once, and more only
    of those that are among the best.

    Args:
        responses: Answers of the shards.
    """

    def __init__(self, responses: Iterable[pb.SearchShardResponse]) -> None:
        hits: list[pb.ShardHit] = []
        ends = []
        for response in responses:
            hits.extend(response.hits)
            ends.append(len(hits))
        self._ends = ends
        self.semantic = _Leg(hits, "semantic_score", [hit.semantic_score for hit in hits])
        self.keyword = _Leg(hits, "keyword_score", [hit.keyword_score for hit in hits])

    def cut_short(self, *, asked: int, depth: int) -> list[int]:
        """Says which of the responses may leave out one of the best `depth` of a leg, `asked` being asked for."""
        short: set[int] = set()
        for leg in (self.semantic, self.keyword):
            # Whatever a response left out is at most as good as the last that it gave.
            better = Counter(bisect_right(self._ends, at) for at in leg.better(depth))
            short.update(number for number, count in better.items() if count >= asked)
        return sorted(short)


class _Leg:
    """What one leg says of all hits. A score of zero can stand for "not found", which the message knows."""

    def __init__(self, hits: list[pb.ShardHit], name: _Score, scores: list[float]) -> None:
        self._hits = hits
        self._name = name
        self._scores = np.array(scores, dtype=np.float64)
        self._cleared = False
        self._worst: dict[int, float] = {}

    def best(self, depth: int) -> list[Placed]:
        """Gives the best `depth`, best first."""
        best: dict[str, Placed] = {}
        places = np.flatnonzero(self._scores >= max(self._threshold(depth), _LEAST))
        for at, score in zip(places.tolist(), self._scores[places].tolist(), strict=True):
            hit = self._hits[at]
            chunk_id = hit.chunk.chunk_id
            best.setdefault(chunk_id, (-score, chunk_id, hit))
        return sorted(best.values(), key=_PLACE)[:depth]

    def better(self, depth: int) -> list[int]:
        """Gives the places of those that are better than the last of the best `depth`; of all, when there are fewer."""
        return np.flatnonzero(self._scores > self._threshold(depth)).tolist()

    def _threshold(self, depth: int) -> float:
        """Gives the `depth`-th best score; minus infinity when there are fewer."""
        if (known := self._worst.get(depth)) is not None:
            return known
        worst = self._nth(depth)
        if worst <= 0 and not self._cleared:
            # Asking every hit whether its zero is one would double the time, and is needed only here.
            for at in np.flatnonzero(self._scores == 0).tolist():
                if not self._hits[at].HasField(self._name):
                    self._scores[at] = -math.inf
            self._cleared = True
            worst = self._nth(depth)
        self._worst[depth] = worst
        return worst

    def _nth(self, depth: int) -> float:
        if len(self._scores) < depth:
            return -math.inf
        return float(np.partition(self._scores, len(self._scores) - depth)[-depth])


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


def fuse(
    candidates: Candidates,
    *,
    semantic_floor: float,
    semantic_floor_alone: float | None = None,
    depth: int = 1000,
) -> Fused:
    """Merges the shards' hits into one list, best first, by reciprocal rank.

    A shard's own ranks say nothing about another's, so each leg is ranked over all shards first. BM25 scores of two
    shards are compared as they are, which holds as long as videos fall into shards evenly.

    Args:
        candidates: What the shards found. A chunk that two of them gave counts once.
        semantic_floor: Dense score below which the dense leg found nothing; the nearest of all chunks is still near
            to nothing when the query is gibberish.
        semantic_floor_alone: The same, where no word of the query is said anywhere; `semantic_floor` if left out.
        depth: How many chunks of each leg count.
    """
    semantic, keyword = candidates.semantic.best(depth), candidates.keyword.best(depth)
    floor = semantic_floor if semantic_floor_alone is None or keyword else semantic_floor_alone
    hits: dict[str, RankedHit] = {}
    near: list[tuple[float, str]] = []
    deep = 0
    # The dense leg also scores what only the words found, so both lists are looked at for it.
    for place, (_, chunk_id, hit) in enumerate([*semantic, *keyword]):
        if chunk_id in hits:
            continue
        sentence_scores = hit.sentence_scores
        semantic_score = hit.semantic_score
        score = dense_score(semantic_score, sentence_scores)
        if score >= floor and (semantic_score or hit.HasField("semantic_score")):
            near.append((-score, chunk_id))
            deep += place < len(semantic)
        elif place < len(semantic):
            continue  # unless the words found it too, and it comes again
        hits[chunk_id] = RankedHit(hit.chunk, sentence_scores=sentence_scores)
    near.sort()
    for rank, (score, chunk_id) in enumerate(near, start=1):
        ranked = hits[chunk_id]
        ranked.score = 1.0 / (RRF_K + rank)
        ranked.semantic = LegScore(-score, rank)
    for rank, (score, chunk_id, _) in enumerate(keyword, start=1):
        ranked = hits[chunk_id]
        ranked.score += 1.0 / (RRF_K + rank)
        ranked.keyword = LegScore(-score, rank)
    order = sorted(
        (-ranked.score, -ranked.semantic.score if ranked.semantic else 0.0, chunk_id)
        for chunk_id, ranked in hits.items()
    )
    return Fused([hits[chunk_id] for _, _, chunk_id in order], deep >= depth or len(keyword) >= depth)


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
