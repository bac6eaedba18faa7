"""From the shards' lists to one answer: global ranks, reciprocal rank fusion, grouping by video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.internal.v1 import shard_service_pb2 as pb

RRF_K = 60
"""The constant of reciprocal rank fusion, score = Σ 1 / (k + rank). 60 is the value of Cormack, Clarke and Büttcher,
"Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009."""


_LEAST = -1e300
_Scores = npt.NDArray[np.float64]


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


_Placed = tuple[float, str, int]
"""Negated score of a leg, id of the chunk, and its place: sorted, the best comes first, equals by their ids."""


class Candidates:
    """The hits of all shards, one after the other. Of most of them only the scores are looked at.

    Args:
        answers: What each shard gave.
    """

    def __init__(self, answers: Iterable[pb.HitColumns]) -> None:
        self._answers = list(answers)
        semantic = [columns.semantic_scores for columns in self._answers]
        keyword = [columns.keyword_scores for columns in self._answers]
        self._ends = np.cumsum([len(scores) // 4 for scores in semantic], dtype=np.int64)
        self.semantic = _Leg(_found(semantic))
        self.keyword = _Leg(_found(keyword))
        best_sentences = _floats([columns.best_sentence_scores for columns in self._answers])
        self.dense = dense_scores(self.semantic.scores, best_sentences)
        """What each is worth to the dense leg; minus infinity where that did not look at it."""

    def cut_short(self, *, asked: int, depth: int) -> list[int]:
        """Says which of the answers may leave out one of the best `depth` of a leg, `asked` being asked for."""
        short: set[int] = set()
        for leg in (self.semantic, self.keyword):
            # Whatever a response left out is at most as good as the last that it gave.
            better = np.bincount(np.searchsorted(self._ends, leg.better(depth), side="right"))
            short.update(np.flatnonzero(better >= asked).tolist())
        return sorted(short)

    def best(self, leg: _Leg, depth: int) -> list[_Placed]:
        """Gives the best `depth` of a leg, best first."""
        places = leg.best(depth)
        answers = np.searchsorted(self._ends, places, side="right")
        within = places - np.concatenate(([0], self._ends))[answers]
        best: dict[str, _Placed] = {}
        for place, answer, at, score in zip(
            places.tolist(), answers.tolist(), within.tolist(), leg.scores[places].tolist(), strict=True
        ):
            chunk_id = self._answers[answer].chunk_ids[at]
            best.setdefault(chunk_id, (-score, chunk_id, place))
        return sorted(best.values())[:depth]

    def hit(self, place: int) -> tuple[pb.Chunk, list[float]]:
        """Gives the chunk at a place, and the cosines of its sentences."""
        answer = int(np.searchsorted(self._ends, place, side="right"))
        columns, at = self._answers[answer], place - (int(self._ends[answer - 1]) if answer else 0)
        return pb.Chunk.FromString(columns.chunks[at]), np.frombuffer(columns.sentence_scores[at], "<f4").tolist()


class _Leg:
    """What one leg says of all hits: float64, minus infinity for one that it did not find."""

    def __init__(self, scores: _Scores) -> None:
        self.scores = scores
        self._worst: dict[int, float] = {}

    def best(self, depth: int) -> npt.NDArray[np.int64]:
        """Gives the places of the best `depth`, and of those that are as good as the last of them."""
        return np.flatnonzero(self.scores >= max(self._threshold(depth), _LEAST))

    def better(self, depth: int) -> npt.NDArray[np.int64]:
        """Gives the places of those that are better than the last of the best `depth`; of all, when there are fewer."""
        return np.flatnonzero(self.scores > self._threshold(depth))

    def _threshold(self, depth: int) -> float:
        """Gives the `depth`-th best score; minus infinity when there are fewer."""
        if (known := self._worst.get(depth)) is None:
            size = len(self.scores)
            known = float(np.partition(self.scores, size - depth)[-depth]) if size >= depth else -math.inf
            self._worst[depth] = known
        return known


def _floats(columns: list[bytes]) -> _Scores:
    return np.frombuffer(b"".join(columns), "<f4").astype(np.float64)


def _found(columns: list[bytes]) -> _Scores:
    scores = _floats(columns)
    scores[np.isnan(scores)] = -math.inf
    return scores


@dataclass(frozen=True, slots=True)
class Fused:
    """The merged answer. Of a page that shows ten of a hundred hits, only those ten are made."""

    chunk_ids: list[str]
    """Chunks found by a leg, by fused score, then semantic score, then id, so that the order is always the same."""
    cut_off: bool
    """Whether a leg found as many as were asked for, and may find more."""
    _candidates: Candidates
    _places: dict[str, int]
    _scores: dict[str, float]
    _semantic: dict[str, tuple[float, int]]
    _keyword: dict[str, tuple[float, int]]

    def hit(self, chunk_id: str) -> RankedHit:
        """Gives one of the chunks with all that is known of it."""
        chunk, sentence_scores = self._candidates.hit(self._places[chunk_id])
        semantic, keyword = self._semantic.get(chunk_id), self._keyword.get(chunk_id)
        return RankedHit(
            chunk=chunk,
            score=self._scores[chunk_id],
            semantic=LegScore(*semantic) if semantic else None,
            keyword=LegScore(*keyword) if keyword else None,
            sentence_scores=sentence_scores,
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
    semantic, keyword = (candidates.best(leg, depth) for leg in (candidates.semantic, candidates.keyword))
    floor = semantic_floor if semantic_floor_alone is None or keyword else semantic_floor_alone
    places: dict[str, int] = {}
    near: list[tuple[float, str]] = []
    deep = 0
    # The dense leg also scores what only the words found, so both lists are looked at for it.
    both = [*semantic, *keyword]
    scores_of = candidates.dense[[at for _, _, at in both]].tolist()
    for number, ((_, chunk_id, at), score) in enumerate(zip(both, scores_of, strict=True)):
        if chunk_id in places:
            continue
        if score >= floor:
            near.append((-score, chunk_id))
            deep += number < len(semantic)
        elif number < len(semantic):
            continue  # unless the words found it too, and it comes again
        places[chunk_id] = at
    near.sort()
    by_meaning = {chunk_id: (-score, rank) for rank, (score, chunk_id) in enumerate(near, start=1)}
    by_words = {chunk_id: (-score, rank) for rank, (score, chunk_id, _) in enumerate(keyword, start=1)}
    scores = {chunk_id: 1.0 / (RRF_K + rank) for chunk_id, (_, rank) in by_meaning.items()}
    for chunk_id, (_, rank) in by_words.items():
        scores[chunk_id] = scores.get(chunk_id, 0.0) + 1.0 / (RRF_K + rank)
    order = sorted(
        [
            (-score, -by_meaning[chunk_id][0] if chunk_id in by_meaning else 0.0, chunk_id)
            for chunk_id, score in scores.items()
        ]
    )
    return Fused(
        chunk_ids=[chunk_id for _, _, chunk_id in order],
        cut_off=deep >= depth or len(keyword) >= depth,
        _candidates=candidates,
        _places=places,
        _scores=scores,
        _semantic=by_meaning,
        _keyword=by_words,
    )


def dense_scores(chunk_scores: _Scores, best_sentence_scores: _Scores) -> _Scores:
    """Gives what chunks are worth to the dense leg: the mean of a chunk's own cosine and of its best sentence's.

    A chunk's vector says what it is about, a sentence's what is said. Together they find the right chunk first in
    44 % of TutorialVQA's questions, the chunk's alone in 33 % (docs/benchmarks.md). One whose sentences have no vectors
    (NaN) counts by its own.
    """
    return np.where(np.isnan(best_sentence_scores), chunk_scores, (chunk_scores + best_sentence_scores) / 2)


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
