"""Searches in the kinds of FAISS index, with and without a filter."""

from __future__ import annotations

import math
import weakref
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from services.indexer.chunks import Ids, Vectors
from services.indexer.dense_effort import EffortCurve
from services.indexer.dense_exact import Found, Halves, best, inner_products, nearest_many
from services.indexer.rows import Rows

BRUTE_ROWS = 2000
"""Up to this many rows that may be found are compared one by one: about a millisecond (0.6 µs a row, from where they
lie in the file), which is what searching a million rows without a filter takes, and exact."""

_COUNTED_SHARE = 0.5
"""Below this share of rows the lists are chosen by how many rows in them may be found."""


# FAISS's type stubs know neither this name nor what its Python wrapper adds: keyword arguments, arrays for pointers.
_faiss: Any = faiss


class Finder(Protocol):
    """Finds the nearest rows. Threads share it."""

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        """Gives for each of the queries (m, d) the `k` nearest; at least `k` rows may be found, and k ≥ 1."""


class FlatFinder:
    """Compares all."""

    def __init__(self, index: Any, vectors: Halves, *, brute_rows: int = BRUTE_ROWS) -> None:
        self._index = index
        self._vectors = vectors
        self._brute_rows = brute_rows

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        """See Finder."""
        if rows is not None and rows.count <= self._brute_rows and 2 * rows.count <= len(self._vectors):
            return nearest_many(self._vectors, queries, k, rows.ids)
        parameters = None if rows is None else _faiss.SearchParameters(sel=_selector(rows))
        scores, ids = self._index.search(queries, k, params=parameters)
        return list(zip(ids, scores, strict=True))


class IvfFinder:
    """Compares the rows of the lists whose centroids are nearest to the query.

    Args:
        index: An IndexIVF of inner products.
        vectors: float16, shape (rows, d).
        effort: How many lists to probe.
        rescored: Whether the codes are coarse, so that more candidates are found than asked for, and compared exactly.
        brute_rows: See BRUTE_ROWS.
    """

    def __init__(
        self,
        index: Any,
        vectors: Halves,
        effort: EffortCurve,
        *,
        rescored: bool,
        brute_rows: int = BRUTE_ROWS,
    ) -> None:
        self._brute_rows = brute_rows
        self._index = index
        self._vectors = vectors
        self.effort = effort
        self.rescored = rescored
        quantizer: Any = faiss.downcast_index(index.quantizer)
        # A view: it lives as long as the index does.
        self._centroids = faiss.rev_swig_ptr(quantizer.get_xb(), index.nlist * index.d).reshape(-1, index.d)
        self._sizes = np.array([index.invlists.list_size(number) for number in range(index.nlist)], np.int64)
        self._lists: npt.NDArray[np.int32] | None = None
        # Filters come again, and Rows never change.
        self._counts: weakref.WeakKeyDictionary[Rows, Ids] = weakref.WeakKeyDictionary()

    @property
    def widest(self) -> int:
        """The greatest breadth: all lists."""
        return int(self._index.nlist)

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        """See Finder."""
        total = len(self._vectors)
        allowed = total if rows is None else rows.count
        if rows is not None and allowed <= self._brute_rows:
            return nearest_many(self._vectors, queries, k, rows.ids)
        if rows is not None and allowed < _COUNTED_SHARE * total:
            return self._find_counted(queries, k, rows)
        breadth, candidates = self.effort.at(k * total / allowed)
        wanted = min(allowed, self._wanted(k, candidates))
        # Lists differ in length: twice the lists that hold enough on average, and more below if these do not.
        breadth = min(self.widest, max(breadth, math.ceil(2 * wanted * self.widest / allowed)))
        ids, scores = self._probe(queries, wanted, breadth, rows)
        while breadth < self.widest and (ids[:, k - 1] < 0).any():
            breadth = min(self.widest, 4 * breadth)
            ids, scores = self._probe(queries, wanted, breadth, rows)
        return self._finish(queries, k, ids, scores)

    def _wanted(self, k: int, candidates: float) -> int:
        # Fewer than were measured need no fewer candidates: the codes may put the best of all behind any of them.
        return math.ceil(max(k, self.effort.points[0].k) * candidates) if self.rescored else k

    def attempt(self, queries: Vectors, k: int, breadth: int, candidates: float) -> list[Found]:
        """Searches all rows with an effort of the caller's choice. May give fewer than `k`."""
        ids, scores = self._probe(queries, min(len(self._vectors), math.ceil(k * candidates)), breadth, None)
        return self._finish(queries, k, ids, scores)

    def _probe(self, queries: Vectors, wanted: int, breadth: int, rows: Rows | None) -> tuple[Ids, Vectors]:
        parameters = _faiss.SearchParametersIVF(nprobe=breadth, sel=_selector(rows))
        scores, ids = self._index.search(queries, wanted, params=parameters)
        return ids, scores

    def _find_counted(self, queries: Vectors, k: int, rows: Rows) -> list[Found]:
        """Probes lists that hold rows which may be found, and as many as hold enough of them.

        A filter by video or collection leaves most lists empty: the nearest of the others are probed in their place.
        """
        counts = self._count(rows)
        lists = np.flatnonzero(counts)
        breadth, candidates = self.effort.at(k * len(self._vectors) / rows.count)
        wanted = min(rows.count, self._wanted(k, candidates))
        chosen, near = [], []
        for query in queries:
            scores = inner_products(self._centroids, query)
            places = best(scores[lists], min(breadth, len(lists)))
            if counts[lists[places]].sum() < wanted:
                places = np.argsort(-scores[lists], kind="stable")
                enough = int(np.searchsorted(np.cumsum(counts[lists[places]]), wanted)) + 1
                places = places[: max(breadth, enough)]
            chosen.append(lists[places])
            near.append(scores[lists[places]])
        width = max(len(row) for row in chosen)
        # -1 stands for no list.
        list_ids = np.full((len(queries), width), -1, np.int64)
        list_scores = np.zeros((len(queries), width), np.float32)
        for row, (of_query, scores) in enumerate(zip(chosen, near, strict=True)):
            list_ids[row, : len(of_query)], list_scores[row, : len(of_query)] = of_query, scores
        ids = np.empty((len(queries), wanted), np.int64)
        found_scores = np.empty((len(queries), wanted), np.float32)
        # FAISS's Python wrapper of this one takes no parameters.
        self._index.search_preassigned_c(
            len(queries),
            _faiss.swig_ptr(queries),
            wanted,
            _faiss.swig_ptr(list_ids),
            _faiss.swig_ptr(list_scores),
            _faiss.swig_ptr(found_scores),
            _faiss.swig_ptr(ids),
            False,
            _faiss.SearchParametersIVF(nprobe=width, sel=_selector(rows)),
        )
        return self._finish(queries, k, ids, found_scores)

    def _count(self, rows: Rows) -> Ids:
        """Gives for each list how many of its rows may be found."""
        counts = self._counts.get(rows)
        if counts is None:
            counts = np.bincount(self._list_of_rows()[rows.ids], minlength=self.widest)
            self._counts[rows] = counts
        return counts

    def _list_of_rows(self) -> npt.NDArray[np.int32]:
        if self._lists is None:
            lists = np.zeros(len(self._vectors), np.int32)
            inverted = self._index.invlists
            for number in range(self.widest):
                if size := int(self._sizes[number]):
                    lists[faiss.rev_swig_ptr(inverted.get_ids(number), size)] = number
            self._lists = lists
        return self._lists

    def _finish(self, queries: Vectors, k: int, ids: Ids, scores: Vectors) -> list[Found]:
        found = []
        for query, of_ids, of_scores in zip(queries, ids, scores, strict=True):
            there = of_ids >= 0
            if self.rescored:
                candidates = np.sort(of_ids[there])
                found += nearest_many(self._vectors, query.reshape(1, -1), k, candidates)
            else:
                found.append((of_ids[there][:k], of_scores[there][:k]))
        return found


def _selector(rows: Rows | None) -> Any:
    return None if rows is None else _faiss.IDSelectorBitmap(rows.bits)
