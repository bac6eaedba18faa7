"""Searches of a view: both legs over all parts, the best of them together, and what goes with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from prometheus_client import Histogram

from services.common.errors import InvalidArgument, ModelMismatch
from services.common.metrics import LATENCY_SECONDS
from services.indexer import keyword
from services.indexer.chunks import Filter, Found, Hit, Ids, Query, Vectors, unit_vector
from services.indexer.rows import Rows
from services.indexer.terms import Question, parse_question
from services.indexer.videos import VideoTable
from services.indexer.view import ROW_BITS, PartView, Selector, View

MAX_K = 1000
MAX_QUERY_CHARACTERS = 20_000

SEARCH_SECONDS = Histogram(
    "earmark_indexer_search_leg_seconds",
    "Time a leg of a search took.",
    ["leg"],
    buckets=(0.0001, 0.00025, *LATENCY_SECONDS),
)
_SEMANTIC_SECONDS, _KEYWORD_SECONDS = SEARCH_SECONDS.labels("semantic"), SEARCH_SECONDS.labels("keyword")
_ROW_MASK = (1 << ROW_BITS) - 1

Scores = dict[int, float]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query, checked and made ready."""

    query: Query
    vector: Vectors | None
    question: Question | None

    @property
    def legs(self) -> tuple[str, ...]:
        return ("semantic",) * (self.vector is not None) + ("keyword",) * (self.question is not None)


class Searcher:
    """Searches views of a shard; any number of threads at once.

    Args:
        videos: The shard's videos.
    """

    def __init__(self, videos: VideoTable) -> None:
        self._videos = videos
        self._selector = Selector(videos)

    def search(self, view: View, queries: Sequence[Query], *, applied_sequence: int) -> list[Found]:
        """Asks the legs that each query has something for, and gives the chunks that at least one of them found.

        Vectors that look for as many chunks under the same filter go through FAISS together.

        Raises:
            InvalidArgument: k is out of 1..1000, a vector is of the wrong length or has no direction, a text is too
                long, or there is neither.
            ModelMismatch: A vector is of another model than the index.
        """
        asked = [_checked(query, view) for query in queries]
        dense = self._dense(view, asked)
        return [self._found(view, one, semantic, applied_sequence) for one, semantic in zip(asked, dense, strict=True)]

    def _dense(self, view: View, asked: Sequence[_Asked]) -> list[Scores]:
        groups: defaultdict[tuple[Filter, frozenset[int] | None, int], list[int]] = defaultdict(list)
        for place, one in enumerate(asked):
            if one.vector is not None and view.parts:
                groups[one.query.filter, one.query.slots, one.query.k].append(place)
        results: list[Scores] = [{} for _ in asked]
        for (chosen, slots, k), places in groups.items():
            with _SEMANTIC_SECONDS.time():
                selections = self._selector.select(view, chosen, slots)
                vectors = [vector for place in places if (vector := asked[place].vector) is not None]
                for place, scores in zip(places, _nearest(view, selections, vectors, k), strict=True):
                    results[place] = scores
        return results

    def _found(self, view: View, asked: _Asked, semantic: Scores, applied_sequence: int) -> Found:
        query, vector = asked.query, asked.vector
        said: Scores = {}
        if asked.question is not None and view.parts:
            with _KEYWORD_SECONDS.time():
                selections = self._selector.select(view, query.filter, query.slots)
                said = _said(view, selections, asked.question, query.k)
        parts = {part.part.serial: part for part in view.parts}
        if vector is not None and (beyond := [number for number in said if number not in semantic]):
            # The fusion then knows how near the chunks are that only the words found.
            semantic |= _cosines(parts, vector, beyond)
        by_part: defaultdict[int, list[int]] = defaultdict(list)
        for number in dict.fromkeys([*semantic, *said]):
            by_part[number >> ROW_BITS].append(number)
        hits: list[Hit] = []
        for serial, numbers in by_part.items():
            part = parts[serial].part
            rows = np.array(numbers, np.int64) & _ROW_MASK
            sentences = sentence_scores([] if query.ids_only else part.sentences(rows), vector) or [()] * len(numbers)
            hits += [
                Hit(number, record, self._videos.title(video), semantic.get(number), said.get(number), of_sentences)
                for number, record, video, of_sentences in zip(
                    numbers, part.records(rows), part.numbers_of(rows), sentences, strict=True
                )
            ]
        return Found(hits, asked.legs, applied_sequence, view.model_revision)


def _checked(query: Query, view: View) -> _Asked:
    if not 1 <= query.k <= MAX_K:
        raise InvalidArgument(f"k is {query.k}; it can be 1 to {MAX_K}", field="k")
    if len(query.text) > MAX_QUERY_CHARACTERS:
        message = f"the text has {len(query.text)} characters; {MAX_QUERY_CHARACTERS} at most"
        raise InvalidArgument(message, field="text")
    if query.vector is None and not query.text:
        raise InvalidArgument("give a vector, a text, or both", field="vector")
    vector = None if query.vector is None else unit_vector(query.vector)
    if vector is not None and view.model_revision:
        if query.model_revision != view.model_revision:
            asked = query.model_revision or "no named model"
            raise ModelMismatch(
                f"the index holds vectors of {view.model_revision}, the query's is of {asked}",
                field="model_revision",
                metadata={"index_model": view.model_revision, "model": query.model_revision},
            )
        if len(vector) != view.dimension:
            message = f"the vector has {len(vector)} numbers, those of the index {view.dimension}"
            raise InvalidArgument(message, field="vector")
    return _Asked(query, vector, parse_question(query.text) if query.text else None)


def _nearest(view: View, selections: Sequence[Rows | None], vectors: Sequence[Vectors], k: int) -> list[Scores]:
    """Gives for each vector its `k` nearest of all parts."""
    ids: list[list[Ids]] = [[] for _ in vectors]
    scores: list[list[Vectors]] = [[] for _ in vectors]
    for (part, _), rows in zip(view.parts, selections, strict=True):
        if rows is not None and rows.count == 0:
            continue
        if len(vectors) == 1:
            found = [part.dense.search(vectors[0], k, rows)]
        else:
            found = part.dense.search_many(np.stack(vectors), k, rows)
        first = part.serial << ROW_BITS
        for place, (nearest, cosines) in enumerate(found):
            ids[place].append(nearest + first)
            scores[place].append(cosines)
    return [_best(of_ids, of_scores, k) for of_ids, of_scores in zip(ids, scores, strict=True)]


def _said(view: View, selections: Sequence[Rows | None], question: Question, k: int) -> Scores:
    """Gives the `k` best by words of all parts."""
    parts = [(part.keyword, rows) for (part, _), rows in zip(view.parts, selections, strict=True)]
    found = keyword.search(parts, question, k)
    ids = [
        rows + (part.serial << ROW_BITS) for (part, _), (rows, _) in zip(view.parts, found, strict=True) if len(rows)
    ]
    return _best(ids, [scores for rows, scores in found if len(rows)], k)


def _best(ids: Sequence[Ids], scores: Sequence[Vectors], k: int) -> Scores:
    if not ids:
        return {}
    all_ids, all_scores = (ids[0], scores[0]) if len(ids) == 1 else (np.concatenate(ids), np.concatenate(scores))
    if len(all_ids) > k:
        # Stable: of equals the older part comes first, whichever way the shard is cut.
        order = np.argsort(-all_scores, kind="stable")[:k]
        all_ids, all_scores = all_ids[order], all_scores[order]
    return dict(zip(all_ids.tolist(), all_scores.tolist(), strict=True))


def _cosines(parts: dict[int, PartView], vector: Vectors, numbers: Sequence[int]) -> Scores:
    by_part: defaultdict[int, list[int]] = defaultdict(list)
    for number in numbers:
        by_part[number >> ROW_BITS].append(number)
    scores: Scores = {}
    for serial, of_part in by_part.items():
        rows = np.array(of_part, np.int64) & _ROW_MASK
        scores.update(zip(of_part, parts[serial].part.dense.scores(vector, rows).tolist(), strict=True))
    return scores


def sentence_scores(sentences: Sequence[bytes], vector: Vectors | None) -> Sequence[Sequence[float]]:
    """Gives the cosine of every sentence of some chunks, all in one product.

    Args:
        sentences: Of each chunk the int8 vectors of its sentences, one after the other; empty where there are none.
        vector: float32, shape (dimension,), L2-normalised; without one there are no scores.
    """
    rows = np.frombuffer(b"".join(sentences), np.int8)
    if vector is None or not len(rows):
        return [()] * len(sentences)
    dimension = len(vector)
    # Not `@`: BLAS would wake its threads for a few rows, which costs more than the sums and disturbs the others.
    products = np.einsum("ij,j->i", rows.reshape(-1, dimension).astype(np.float32), vector / np.float32(127)).tolist()
    ends = list(accumulate(len(of_chunk) // dimension for of_chunk in sentences))
    return [products[start:end] for start, end in zip([0, *ends], ends, strict=False)]
