"""The dense leg: exact inner product over unit vectors, by FAISS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from services.indexer.chunks import Ids, Vectors

_threads = threading.local()


class DenseIndex:
    """Vectors by number. Many may search at once; changing it needs that nobody searches meanwhile.

    Args:
        index: A FAISS IndexIDMap2 around a flat inner-product index. Raises RuntimeError when it is something else.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        # IndexIDMap2 does not keep the index it wraps alive, and searching a freed one crashes the process.
        self._inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap2) else None
        if not isinstance(self._inner, faiss.IndexFlat) or self._inner.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise RuntimeError(f"{type(index).__name__} is not a flat inner-product index with numbers")

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Gives an index for vectors of a length."""
        inner = faiss.IndexFlatIP(dimension)
        return cls(faiss.IndexIDMap2(inner))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `write` wrote. Raises RuntimeError when it is something else."""
        return cls(faiss.read_index(str(path)))

    def write(self, path: Path) -> None:
        """Writes the index to a file, in FAISS's own format."""
        faiss.write_index(self._index, str(path))

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> Ids:
        """The numbers held, int64, in no order."""
        return np.array(faiss.vector_to_array(self._index.id_map), dtype=np.int64)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Adds unit vectors (n, dimension) under new numbers (n,)."""
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.ascontiguousarray(ids))

    def remove(self, ids: Ids) -> int:
        """Removes numbers and gives how many were there."""
        return int(self._index.remove_ids(faiss.IDSelectorBatch(ids))) if len(ids) else 0

    def search(self, vector: Vectors, k: int, *, among: Ids | None = None) -> tuple[Ids, Vectors]:
        """Gives the `k` nearest by cosine, or all if there are fewer.

        Args:
            vector: float32, shape (dimension,), of unit length.
            k: How many.
            among: Numbers that may be found; None means all.

        Returns:
            Numbers and cosines, best first, both (n,) with n ≤ k.
        """
        k = min(k, len(self) if among is None else len(among))
        if k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        _one_thread()
        # FAISS's type stubs do not know what its Python wrapper adds: keyword arguments, arrays for pointers.
        parameters = None if among is None else faiss.SearchParameters(sel=self._selector(among))  # type: ignore[call-arg]
        scores, ids = self._index.search(vector.reshape(1, -1), k, params=parameters)
        found = ids[0] >= 0
        return ids[0][found], scores[0][found]

    def scores(self, vector: Vectors, ids: Ids) -> Vectors:
        """Gives the cosines (n,) of numbers held."""
        # Not `@`: BLAS would wake its threads for a few rows, which costs more than the sums and disturbs the others.
        return np.asarray(np.einsum("ij,j->i", self.vectors(ids), vector), dtype=np.float32)

    def vectors(self, ids: Ids) -> Vectors:
        """Gives the vectors (n, dimension) of numbers held."""
        if not len(ids):
            return np.empty((0, self.dimension), np.float32)
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(ids)), dtype=np.float32)

    def _selector(self, among: Ids) -> Any:
        # A bitmap costs a bit for every number ever given; a hash set costs more for each one selected.
        if len(among) * 64 < len(self):
            return faiss.IDSelectorBatch(among)
        bits = np.zeros(-(-(int(among.max()) + 1) // 8) * 8, dtype=bool)
        bits[among] = True
        return faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))  # type: ignore[call-arg,arg-type]


def _one_thread() -> None:
    """One thread a search: more searches at once gain more. OpenMP keeps the setting for each calling thread apart."""
    if not getattr(_threads, "limited", False):
        faiss.omp_set_num_threads(1)
        _threads.limited = True
