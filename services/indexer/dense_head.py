"""The vectors of the mutable head: exact, growing, searched without a lock."""

from __future__ import annotations

import numpy as np

from services.indexer.chunks import Ids, Vectors
from services.indexer.dense_exact import Found, best, inner_products, nothing, one_thread
from services.indexer.rows import Rows

_FIRST_ROWS = 1024
_GATHER_BELOW = 4
"""Rows are picked out when fewer than one in this many may be found; else all are compared and the others left out."""

_BLOCK_ROWS = 1024
"""Rows compared with every query of a batch while they are in the processor's cache."""


class HeadVectors:
    """Vectors by row, 0 to count - 1. One thread appends while any number search; rows never change.

    They are float32 but rounded to float16, so that sealing, which keeps them as float16, changes no answer.

    Args:
        dimension: Length of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        # Replaced as one: a reader sees a buffer and how much of it is filled, never more. A full buffer is copied
        # into a larger one, and those who still read the old one keep it.
        self._published: tuple[Vectors, int] = (np.empty((_FIRST_ROWS, dimension), np.float32), 0)

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._dimension

    @property
    def count(self) -> int:
        """Rows that are there."""
        return self._published[1]

    def append(self, vectors: Vectors) -> int:
        """Adds rows and gives the number of the first.

        Args:
            vectors: float32, shape (n, dimension), L2-normalised. They are rounded to float16.

        Raises:
            ValueError: The vectors are of another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise ValueError(f"vectors of shape {vectors.shape}; they must be (n, {self._dimension})")
        buffer, count = self._published
        total = count + len(vectors)
        if total > len(buffer):
            larger = np.empty((max(total, 2 * len(buffer)), self._dimension), np.float32)
            larger[:count] = buffer[:count]
            buffer = larger
        buffer[count:total] = vectors.astype(np.float16)
        self._published = (buffer, total)
        return count

    def vectors(self, ids: Ids) -> Vectors:
        """Gives the vectors (n, dimension), float32, of rows."""
        return self._filled()[ids]

    def scores(self, query: Vectors, ids: Ids) -> Vectors:
        """Gives the cosines (n,) of rows with a query (dimension,)."""
        return inner_products(self.vectors(ids), query)

    def search(self, query: Vectors, k: int, rows: Rows | None = None) -> Found:
        """Gives the `k` nearest rows, or all that may be found if there are fewer; see `DenseIndex.search`.

        Args:
            query: float32, shape (dimension,), L2-normalised.
            k: How many.
            rows: Which may be found, of the first `len(rows.mask)` rows; None means all rows there are now.
        """
        (found,) = self.search_many(query.reshape(1, -1), k, rows)
        return found

    def search_many(self, queries: Vectors, k: int, rows: Rows | None = None) -> list[Found]:
        """`search` for queries (m, dimension)."""
        vectors = self._filled()
        if rows is not None:
            if len(rows.mask) > len(vectors):
                raise ValueError(f"a mask of {len(rows.mask)} rows for a head of {len(vectors)}")
            vectors = vectors[: len(rows.mask)]
        allowed = None if rows is None or rows.count == len(vectors) else rows.ids
        if k < 1 or len(vectors) == 0 or (allowed is not None and len(allowed) == 0):
            return [nothing() for _ in queries]
        one_thread()
        gathered = allowed is not None and len(allowed) * _GATHER_BELOW < len(vectors)
        scores = _products(vectors[allowed] if gathered else vectors, queries)
        if allowed is not None and not gathered:
            scores = scores[:, allowed]
        places = [best(of_query, min(k, scores.shape[1])) for of_query in scores]
        return [
            (at if allowed is None else allowed[at], of_query[at]) for at, of_query in zip(places, scores, strict=True)
        ]

    def _filled(self) -> Vectors:
        buffer, count = self._published
        return buffer[:count]


def _products(vectors: Vectors, queries: Vectors) -> Vectors:
    scores = np.empty((len(queries), len(vectors)), np.float32)
    step = len(vectors) if len(queries) == 1 else _BLOCK_ROWS
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        for row, query in zip(scores, queries, strict=True):
            inner_products(block, query, out=row[start : start + step])
    return scores
