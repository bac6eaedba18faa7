"""Exact cosines with float16 vectors, and the best of them.

Whatever finds candidates, what a search gives are the cosines of these values: a product of float32 numbers, of which
those of the vectors were rounded to float16 when they came in.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from services.indexer.chunks import Ids, Vectors

Halves = npt.NDArray[np.float16]
Found = tuple[Ids, Vectors]
"""Ids (int64) and cosines (float32), best first."""
Take = Callable[[Ids], Halves]
"""Gives rows (n, d) by their ids."""

_ROWS_AT_ONCE = 2048
"""Rows gathered and compared while they are in the processor's cache."""

_threads = threading.local()
_faiss: Any = faiss  # its type stubs do not know all its functions


def one_thread() -> None:
    """One thread a search: more searches at once gain more. OpenMP keeps the setting for each calling thread apart."""
    if not getattr(_threads, "limited", False):
        faiss.omp_set_num_threads(1)
        _threads.limited = True


def many_threads(threads: int) -> None:
    """Lets FAISS compute with this many threads when called from this one; `one_thread` ends it."""
    faiss.omp_set_num_threads(threads)
    _threads.limited = False


def nothing() -> Found:
    """What a search gives where there is nothing."""
    return np.empty(0, np.int64), np.empty(0, np.float32)


class RowReader:
    """Reads rows of a file of float16 vectors, one by one and not by its map.

    A row that is looked at through a map brings its page, and by the kernel's custom fifteen around it, into what
    counts as the process's memory: searches in a million rows would soon have them all there.

    Args:
        path: The file: row after row, nothing else.
        dimension: Length of the vectors.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)  # with the last search that uses it, as maps end
        self._dimension = dimension

    def take(self, ids: Ids) -> Halves:
        """Gives rows (n, d). Raises OSError when the file ends before one."""
        rows = np.empty((len(ids), self._dimension), np.float16)
        size = 2 * self._dimension
        if not len(ids):
            return rows
        memory = rows.view(np.uint8).data.cast("B")
        for place, row in enumerate(ids.tolist()):
            if os.preadv(self._descriptor, [memory[place * size : (place + 1) * size]], row * size) != size:
                raise OSError(f"the file of vectors ends before row {row}")
        return rows


def flat_index(dimension: int) -> faiss.IndexScalarQuantizer:
    """Gives an index of FAISS that keeps float16 vectors as they are and compares all."""
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def codes(vectors: Halves) -> npt.NDArray[np.uint8]:
    """The bytes of float16 vectors (n, d) as FAISS's codes (n, 2 d)."""
    return np.ascontiguousarray(vectors).view(np.uint8)


def cosines(rows: Halves, query: Vectors) -> Vectors:
    """Gives the cosines (n,) of rows (n, d) with one query (d,)."""
    return inner_products(widened(rows), query)


def widened(vectors: Halves) -> Vectors:
    """Gives float16 vectors (n, d) as float32. FAISS does it several times as fast as numpy."""
    if vectors.shape[0] == 0:
        return np.empty(vectors.shape, np.float32)
    one_thread()
    quantizer = faiss.ScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16)
    return np.asarray(quantizer.decode(codes(vectors)), dtype=np.float32)


def inner_products(vectors: Vectors, query: Vectors, out: Vectors | None = None) -> Vectors:
    """Gives the products (n,) of contiguous float32 rows (n, d) with a query (d,)."""
    result = np.empty(len(vectors), np.float32) if out is None else out
    if len(vectors):
        # Not `@`: BLAS would wake its threads for a few rows, which costs more than it gains and disturbs the others.
        query = np.ascontiguousarray(query, dtype=np.float32)
        _faiss.fvec_inner_products_ny(
            faiss.swig_ptr(result),
            faiss.swig_ptr(query),
            faiss.swig_ptr(vectors),
            vectors.shape[1],
            len(vectors),
        )
    return result


def best(scores: Vectors, k: int) -> Ids:
    """Gives the places of the `k` highest scores, highest first; of equals the earliest."""
    if k < len(scores):
        places = np.argpartition(-scores, k - 1)[:k] if k else np.empty(0, np.int64)
        places.sort()
    else:
        places = np.arange(len(scores))
    return np.asarray(places[np.argsort(-scores[places], kind="stable")], dtype=np.int64)


def nearest(vectors: Halves, query: Vectors, k: int, ids: Ids | None = None) -> Found:
    """Compares one query with every row of `ids`, or with all, and gives the best `k`.

    Args:
        vectors: float16, shape (rows, d); may be memory-mapped.
        query: float32, shape (d,).
        k: How many.
        ids: Rows to look at, ascending for speed; None means all.
    """
    (found,) = nearest_many(vectors, query.reshape(1, -1), k, ids)
    return found


def nearest_many(vectors: Halves, queries: Vectors, k: int, ids: Ids | None = None) -> list[Found]:
    """`nearest` for queries (m, d): the rows are read once for all."""
    one_thread()
    rows = len(vectors) if ids is None else len(ids)
    k = min(k, rows)
    if k == 0:
        return [nothing() for _ in queries]
    block = flat_index(vectors.shape[1])
    every_id, every_score = [], []
    step = max(_ROWS_AT_ONCE, 4 * k)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        taken = vectors[start:stop] if ids is None else vectors[ids[start:stop]]
        block.reset()
        block.add_sa_codes(codes(taken))
        scores, places = block.search(queries, min(k, stop - start))
        every_id.append(places + start if ids is None else ids[start:stop][places])
        every_score.append(scores)
    if len(every_id) == 1:
        return list(zip(every_id[0], every_score[0], strict=True))
    found_ids, found_scores = np.concatenate(every_id, axis=1), np.concatenate(every_score, axis=1)
    result = []
    for of_ids, of_scores in zip(found_ids, found_scores, strict=True):
        places = best(of_scores, k)
        result.append((of_ids[places], of_scores[places]))
    return result
