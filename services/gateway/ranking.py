"""From the shards' lists to one answer: global ranks, reciprocal rank fusion, grouping by video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True, slots=True)
class RankedHit:
    """A chunk with its place in each leg."""

    chunk: pb.Chunk
    score: float
    """Fused score; comparable within one answer only."""
    semantic: LegScore | None
    keyword: LegScore | None
    sentence_scores: Sequence[float]
    """Cosine of each of its sentences; empty where they were not asked for or are not known."""


class VideoMoments(NamedTuple):
    """The moments of one video."""

    video_id: str
    chunk_ids: list[str]
    """Best first."""


_Score = Literal["semantic_score", "keyword_score"]
Placed = tuple[float, str, pb.ShardHit]
"""Negated score of a leg, id of the chunk, and the hit: sorted, the best comes first, equals by their ids."""


class Scores:
    """A shard's hits, with their scores as plain numbers.

    Looking into a message costs more than comparing ten numbers: of every hit the scores are read, once, when an answer
    arrives and the others are still awaited, and more only of those that are among the best.

    Args:
        response: The shard's answer.
    """

    __slots__ = ("hits", "keyword", "semantic")

    def __init__(self, response: pb.SearchShardResponse) -> None:
        self.hits = list(response.hits)
        self.semantic = np.array([hit.semantic_score for hit in self.hits])
        self.keyword = np.array([hit.keyword_score for hit in self.hits])


class Candidates:
    """The hits of all shards.

    Args:
        answers: What each shard gave.
    """

    def __init__(self, answers: Iterable[Scores]) -> None:
        answered = list(answers)
        hits = [hit for scores in answered for hit in scores.hits]
        none = np.empty(0)
        self._ends = np.cumsum([len(scores.hits) for scores in answered], dtype=np.int64)
        self.semantic = _Leg(hits, "semantic_score", np.concatenate([none, *(one.semantic for one in answered)]))
        self.keyword = _Leg(hits, "keyword_score", np.concatenate([none, *(one.keyword for one in answered)]))

    def cut_short(self, *, asked: int, depth: int) -> list[int]:
        """Says which of the answers may leave out one of the best `depth` of a leg, `asked` being asked for."""
        short: set[int] = set()
        for leg in (self.semantic, self.keyword):
            # Whatever a response left out is at most as good as the last that it gave.
            better = np.bincount(np.searchsorted(self._ends, leg.better(depth), side="right"))
            short.update(np.flatnonzero(better >= asked).tolist())
        return sorted(short)


class _Leg:
    """What one leg says of all hits. A score of zero can stand for "not found", which the message knows."""

    def __init__(self, hits: list[pb.ShardHit], name: _Score, scores: npt.NDArray[np.float64]) -> None:
        self._hits = hits
        self._name = name
        self._scores = scores
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

    def better(self, depth: int) -> npt.NDArray[np.int64]:
        """Gives the places of those that are better than the last of the best `depth`; of all, when there are fewer."""
        return np.flatnonzero(self._scores > self._threshold(depth))

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


@dataclass(frozen=True, slots=True)
class Fused:
    """The merged answer. Of a page that shows ten of a hundred hits, only those ten are made."""

    chunk_ids: list[str]
    """Chunks found by a leg, by fused score, then semantic score, then id, so that the order is always the same."""
    cut_off: bool
    """Whether a leg found as many as were asked for, and may find more."""
    _hits: dict[str, pb.ShardHit]
    _scores: dict[str, float]
    _semantic: dict[str, LegScore]
    _keyword: dict[str, LegScore]

    def hit(self, chunk_id: str) -> RankedHit:
        """Gives one of the chunks with all that is known of it."""
        hit = self._hits[chunk_id]
        return RankedHit(
            chunk=hit.chunk,
            score=self._scores[chunk_id],
            semantic=self._semantic.get(chunk_id),
            keyword=self._keyword.get(chunk_id),
            sentence_scores=hit.sentence_scores,
        )


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
    hits: dict[str, pb.ShardHit] = {}
    near: list[tuple[float, str]] = []
    deep = 0
    # The dense leg also scores what only the words found, so both lists are looked at for it.
    for place, (_, chunk_id, hit) in enumerate([*semantic, *keyword]):
        if chunk_id in hits:
            continue
        semantic_score = hit.semantic_score
        score = dense_score(semantic_score, hit.sentence_scores)
        if score >= floor and (semantic_score or hit.HasField("semantic_score")):
            near.append((-score, chunk_id))
            deep += place < len(semantic)
        elif place < len(semantic):
            continue  # unless the words found it too, and it comes again
        hits[chunk_id] = hit
    near.sort()
    by_meaning = {chunk_id: LegScore(-score, rank) for rank, (score, chunk_id) in enumerate(near, start=1)}
    by_words = {chunk_id: LegScore(-score, rank) for rank, (score, chunk_id, _) in enumerate(keyword, start=1)}
    scores = {chunk_id: 1.0 / (RRF_K + leg.rank) for chunk_id, leg in by_meaning.items()}
    for chunk_id, leg in by_words.items():
        scores[chunk_id] = scores.get(chunk_id, 0.0) + 1.0 / (RRF_K + leg.rank)
    order = sorted(
        (-score, -by_meaning[chunk_id].score if chunk_id in by_meaning else 0.0, chunk_id)
        for chunk_id, score in scores.items()
    )
    return Fused(
        chunk_ids=[chunk_id for _, _, chunk_id in order],
        cut_off=deep >= depth or len(keyword) >= depth,
        _hits=hits,
        _scores=scores,
        _semantic=by_meaning,
        _keyword=by_words,
    )


def dense_score(chunk_score: float, sentence_scores: Sequence[float]) -> float:
    """Gives what a chunk is worth to the dense leg: the mean of its own cosine and of its best sentence's.

    A chunk's vector says what it is about, a sentence's what is said. Together they find the right chunk first in
    44 % of TutorialVQA's questions, the chunk's alone in 33 % (docs/benchmarks.md).
    """
    return (chunk_score + max(sentence_scores)) / 2 if sentence_scores else chunk_score


def group(chunk_ids: Sequence[str], *, more: int) -> list[VideoMoments]:
    """Groups chunks by video: videos by their best moment, in each up to `more` further moments."""
    videos: dict[str, VideoMoments] = {}
    for chunk_id in chunk_ids:
        video_id = chunk_id.partition("/")[0]
        video = videos.get(video_id)
        if video is None:
            videos[video_id] = VideoMoments(video_id, [chunk_id])
        elif len(video.chunk_ids) <= more:
            video.chunk_ids.append(chunk_id)
    return list(videos.values())
