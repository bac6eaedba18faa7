"""Searches in a graph (HNSW) whose nodes are bytes, with and without a filter.

A walk compares some hundred nodes with the query. As bytes they take half the memory of float16 and a quarter of
float32, and compare about as fast; what a walk finds is compared exactly afterwards, so that the cosines are those of
every kind. Of 100,000 court hearings' vectors the bytes cost no recall that the 12 best of them do not give back for
k = 10.
"""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from services.indexer.chunks import Ids, Vectors
from services.indexer.dense_effort import EffortCurve
from services.indexer.dense_exact import Found, Halves, Take, best, inner_products, nearest_many, one_thread
from services.indexer.rows import Rows

_FEW_STEPS = 48
"""Comparing `brute_rows` rows as bytes takes about as long as a walk that keeps so many nodes in view: of a million
rows, 10,000 were compared in 1.7 ms, and 512 nodes kept in view in 4.4."""

_ROWS_AT_ONCE = 4096
"""Codes gathered and compared while they are in the processor's cache."""

_CLIPPED_SHARE = 1e-4
"""Components so rare are clipped, for the others to have finer steps."""

_faiss: Any = faiss  # its type stubs do not know all its functions


def byte_scale(vectors: Halves) -> float:
    """Gives steps per unit such that the components of vectors (rows ≥ 1, d) fit into ±127 steps, but for a few."""
    rows = vectors[:: max(1, len(vectors) // 20_000)].astype(np.float32)
    limit = float(np.quantile(np.abs(rows), 1 - _CLIPPED_SHARE))
    return 127 / limit if limit > 0 else 127.0


def byte_values(vectors: Vectors, scale: float) -> Vectors:
    """Gives vectors (m, d) as FAISS's byte codes take them: whole float32 numbers in 0..255, 128 standing for 0."""
    return np.ascontiguousarray(np.clip(np.rint(vectors * np.float32(scale)) + 128, 0, 255), dtype=np.float32)


class GraphFinder:
    """Walks a graph towards the query.

    Args:
        index: An IndexHNSWSQ of bytes, by Euclidean distance, which orders vectors of length 1 as their cosines do.
        vectors: float16, shape (rows, d).
        effort: How many nodes to keep in view.
        scale: See `byte_scale`.
        brute_rows: Filters that let through so many rows are answered by comparing them exactly.
        take: Gives single rows of `vectors`, where that is better done otherwise than by looking into them.

    Raises:
        ValueError: The index is not of bytes.
    """

    rescored = False  # what a walk finds always is; but how much more it must find is not measured

    def __init__(
        self,
        index: Any,
        vectors: Halves,
        effort: EffortCurve,
        *,
        scale: float,
        brute_rows: int,
        take: Take | None = None,
    ) -> None:
        self._index = index
        self._vectors = vectors
        self._take = take or vectors.__getitem__
        self.effort = effort
        self._scale = scale
        self._brute_rows = brute_rows
        self._storage: Any = _faiss.downcast_index(index.storage)
        if self._storage.code_size != index.d:
            raise ValueError(f"nodes of {self._storage.code_size} bytes for vectors of {index.d}")
        # A view: it lives as long as the index does.
        codes = _faiss.rev_swig_ptr(self._storage.codes.data(), index.ntotal * index.d)
        self._codes: npt.NDArray[np.uint8] = codes.reshape(-1, index.d)

    @property
    def widest(self) -> int:
        """The greatest breadth: all rows."""
        return len(self._vectors)

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        """See Finder.

        A walk does not know the filter: of the nodes it keeps in view, those are taken that may be found. So it sees
        when too few are among them, as where the filter is of another subject than the query, and goes further.
        """
        total = len(self._vectors)
        allowed = total if rows is None else rows.count
        if rows is not None and allowed <= self._brute_rows:
            return nearest_many(self._vectors, queries, k, rows.ids)
        wanted = min(allowed, _wanted(k))
        breadth = min(total, max(wanted, self.effort.at(k * total / allowed)[0]))
        coarse = byte_values(queries, self._scale)
        candidates: list[Ids | None] = [None] * len(queries)
        left = np.arange(len(queries))
        while len(left) and not self._few(allowed, breadth):
            for place, ids in zip(left, self._walk(coarse[left], breadth, wanted, rows), strict=True):
                # With fewer than wanted the last of them lie where a walk has begun to miss some.
                candidates[place] = ids if len(ids) == wanted else None
            left = np.array([place for place in left if candidates[place] is None], np.int64)
            breadth = min(total, 4 * breadth)
        if len(left):
            compared = self._compare(coarse[left], wanted, rows)
            for place, ids in zip(left, compared, strict=True):
                candidates[place] = ids
        return [self._exact(query, k, ids) for query, ids in zip(queries, candidates, strict=True) if ids is not None]

    def attempt(self, queries: Vectors, k: int, breadth: int, _candidates: float) -> list[Found]:
        """Searches all rows with an effort of the caller's choice. May give fewer than `k`."""
        wanted = min(len(self._vectors), _wanted(k))
        walked = self._walk(byte_values(queries, self._scale), max(breadth, wanted), wanted, None)
        return [self._exact(query, k, ids) for query, ids in zip(queries, walked, strict=True)]

    def _few(self, rows: int, breadth: int) -> bool:
        """Whether comparing so many rows takes no longer than a walk of this breadth, or nothing else is left."""
        return rows * _FEW_STEPS <= self._brute_rows * breadth or breadth >= self.widest

    def _walk(self, coarse: Vectors, breadth: int, wanted: int, rows: Rows | None) -> list[Ids]:
        """Gives the `wanted` nearest, or fewer, of the nodes in view that may be found."""
        asked = wanted if rows is None else breadth
        parameters = _faiss.SearchParametersHNSW(efSearch=breadth)
        _, ids = self._index.search(coarse, asked, params=parameters)
        there = ids >= 0 if rows is None else (ids >= 0) & rows.mask[ids]
        return [of_query[of_there][:wanted] for of_query, of_there in zip(ids, there, strict=True)]

    def _compare(self, coarse: Vectors, wanted: int, rows: Rows | None) -> list[Ids]:
        """Gives the `wanted` nearest of all rows that may be found, compared as bytes."""
        if rows is None:
            _, ids = self._storage.search(coarse, wanted)
            return list(ids)
        block = byte_index(self._index.d)
        every_id, every_distance = [], []
        step = max(_ROWS_AT_ONCE, 4 * wanted)
        for start in range(0, rows.count, step):
            taken = rows.ids[start : start + step]
            block.reset()
            block.add_sa_codes(self._codes[taken])
            distances, places = block.search(coarse, min(wanted, len(taken)))
            every_id.append(taken[places])
            every_distance.append(distances)
        ids, distances = np.concatenate(every_id, axis=1), np.concatenate(every_distance, axis=1)
        return [of_ids[best(-of_row, wanted)] for of_ids, of_row in zip(ids, distances, strict=True)]

    def _exact(self, query: Vectors, k: int, ids: Ids) -> Found:
        """Gives the `k` nearest of some rows."""
        one_thread()
        ids = np.sort(ids)
        cosines = inner_products(self._take(ids).astype(np.float32), query)
        places = best(cosines, k)
        return ids[places], cosines[places]


def byte_index(dimension: int) -> Any:
    """Gives an index of FAISS that keeps bytes as they are and compares all."""
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2)


def _wanted(k: int) -> int:
    """How many of the best by bytes have the best k among them."""
    return math.ceil(1.25 * k) + 4
