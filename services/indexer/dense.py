"""The dense leg of one sealed segment: nearest vectors by cosine, exact or nearly, with any rows left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from services.indexer import dense_gpu
from services.indexer.chunks import Ids, Vectors
from services.indexer.dense_build import build, finder_of
from services.indexer.dense_effort import Effort, EffortCurve
from services.indexer.dense_exact import Found, Halves, Take, cosines, nothing, one_thread
from services.indexer.dense_finders import BRUTE_ROWS, Finder, FlatFinder
from services.indexer.dense_head import HeadVectors
from services.indexer.dense_kinds import DenseCorrupt, DenseKind, DensePolicy
from services.indexer.rows import Rows

__all__ = ["DenseCorrupt", "DenseIndex", "DenseKind", "DensePolicy", "Found", "HeadVectors", "build"]

_CLASSES: dict[DenseKind, Any] = {
    DenseKind.FLAT: faiss.IndexScalarQuantizer,
    DenseKind.IVF: faiss.IndexIVFScalarQuantizer,
    DenseKind.IVF_RABITQ: faiss.IndexIVFRaBitQ,
    DenseKind.HNSW: faiss.IndexHNSWSQ,
}


class DenseIndex:
    """Vectors of one sealed segment. It never changes, and any number of threads search it at once.

    Args:
        finder: What searches the index.
        vectors: float16, shape (rows, d), L2-normalised.
        kind: The kind of index.
        take: Gives a few rows of `vectors`; None looks into them.
    """

    def __init__(self, finder: Finder, vectors: Halves, kind: DenseKind, take: Take | None = None) -> None:
        self._finder = finder
        self._vectors = vectors
        self._take = take or vectors.__getitem__
        self.kind = kind

    @classmethod
    def open(
        cls,
        path: Path,
        vectors: Halves,
        facts: dict[str, Any],
        *,
        brute_rows: int = BRUTE_ROWS,
        take: Take | None = None,
    ) -> Self:
        """Opens what `build` wrote, memory-mapped: pages are read when a search first wants them.

        Args:
            path: The file.
            vectors: The vectors it was built of: float16, shape (rows, d); may be memory-mapped.
            facts: What `build` gave.
            brute_rows: A filter that lets through no more rows than this is answered by comparing them all.
            take: Gives a few rows of `vectors`, where that is better done otherwise than by looking into them.

        Raises:
            DenseCorrupt: The file is damaged or cut off, or is not of these vectors and facts. A byte changed inside
                the vectors' codes is not noticed: that is for the segment's checksums.
        """
        vectors = np.asarray(vectors)
        try:
            kind = DenseKind(facts["kind"])
            size = path.stat().st_size
            if size != facts["bytes"]:
                raise DenseCorrupt(f"{path.name} has {size} bytes; {facts['bytes']} were written")
            # FAISS's own mapping of lists to a file (IO_FLAG_MMAP) is several times as slow a search as this one.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            _check(index, kind, vectors)
            if kind is DenseKind.FLAT:
                return cls(FlatFinder(index, vectors, brute_rows=brute_rows), vectors, kind, take)
            effort = EffortCurve.from_facts(facts["effort"])
            finder: Finder = finder_of(index, vectors, facts, effort, brute_rows=brute_rows, take=take)
            if kind is DenseKind.IVF and dense_gpu.available():
                finder = dense_gpu.GpuFinder(dense_gpu.moved(index), finder, effort, len(vectors))
            return cls(finder, vectors, kind, take)
        except DenseCorrupt:
            raise
        except (KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise DenseCorrupt(f"{path.name} cannot be read: {error}") from error

    def look(self, breadth: int) -> None:
        """Has every search of an approximate kind look so far, whatever was measured: for benchmarks."""
        if hasattr(self._finder, "effort"):
            self._finder.effort = EffortCurve([Effort(1, breadth, 1, 0)])

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, query: Vectors, k: int, rows: Rows | None = None) -> Found:
        """Gives the `k` nearest rows by cosine, or all that may be found if there are fewer.

        Args:
            query: float32, shape (d,), L2-normalised.
            k: How many.
            rows: Which may be found; None means all.

        Returns:
            Rows (int64) and cosines (float32), best first, both of length min(k, rows that may be found). The cosines
            are exact; an approximate kind can miss a row that is nearer than those it gives.
        """
        (found,) = self.search_many(query.reshape(1, -1), k, rows)
        return found

    def search_many(self, queries: Vectors, k: int, rows: Rows | None = None) -> list[Found]:
        """`search` for queries (m, d) in one call of FAISS and one thread: to use more, share out the queries.

        Raises:
            ValueError: `rows` or the queries are of another size than the segment.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"queries of shape {queries.shape} for vectors of {self.dimension}")
        allowed = len(self)
        if rows is not None:
            if len(rows.mask) != allowed:
                raise ValueError(f"a mask of {len(rows.mask)} rows for a segment of {allowed}")
            rows, allowed = (None, allowed) if rows.count == allowed else (rows, rows.count)
        k = min(k, allowed)
        if k < 1:
            return [nothing() for _ in queries]
        if not len(queries):
            return []
        one_thread()
        return self._finder.find(np.ascontiguousarray(queries, dtype=np.float32), k, rows)

    def scores(self, query: Vectors, ids: Ids) -> Vectors:
        """Gives the exact cosines (n,) of rows with a query (d,), in their order."""
        return cosines(self._take(ids), query)


def _check(index: Any, kind: DenseKind, vectors: Halves) -> None:
    metric = faiss.METRIC_L2 if kind is DenseKind.HNSW else faiss.METRIC_INNER_PRODUCT
    if type(index) is not _CLASSES[kind] or index.metric_type != metric:
        raise DenseCorrupt(f"{type(index).__name__} of metric {index.metric_type} is not a {kind} index")
    if (index.ntotal, index.d) != vectors.shape:
        raise DenseCorrupt(f"an index of {index.ntotal} x {index.d} for vectors of {vectors.shape}")
    if vectors.dtype != np.float16:
        raise DenseCorrupt(f"vectors are {vectors.dtype}, not float16")
