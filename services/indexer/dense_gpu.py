"""Searches on a GPU, where FAISS has one (the faiss-gpu packages). Written by FAISS's documentation: never run on one.

A GPU knows no selector of rows, so it answers where nearly all may be found, by asking for some more; filters go to
the index on the CPU.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import faiss
import numpy as np

from services.indexer.chunks import Vectors
from services.indexer.dense_effort import EffortCurve
from services.indexer.dense_exact import Found
from services.indexer.dense_finders import Finder
from services.indexer.rows import Rows

MOST_ASKED: Final = 2048
"""Neighbours that FAISS's GPU indexes give at most."""


def available() -> bool:
    """Whether this FAISS was built for GPUs and there is one."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def moved(index: Any) -> Any:
    """Gives a copy of an index of inverted lists on the first GPU, in float16."""
    gpu: Any = faiss
    options = gpu.GpuClonerOptions()
    options.useFloat16 = True
    return gpu.index_cpu_to_gpu(gpu.StandardGpuResources(), 0, index, options)


class GpuFinder:
    """Asks the index on the GPU where that gives a full answer, and otherwise the one on the CPU.

    Args:
        on_gpu: The index of inverted lists on the GPU.
        on_cpu: The same rows, with any filter.
        effort: How many lists to probe.
        rows: How many rows there are.
    """

    def __init__(self, on_gpu: Any, on_cpu: Finder, effort: EffortCurve, rows: int) -> None:
        self._on_gpu = on_gpu
        self._on_cpu = on_cpu
        self.effort = effort
        self._rows = rows
        self._one = threading.Lock()  # a GPU index may be searched by one thread at a time

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        """See Finder."""
        hidden = 0 if rows is None else self._rows - rows.count
        asked = k + hidden
        if asked > min(MOST_ASKED, self._rows) or hidden > k:
            return self._on_cpu.find(queries, k, rows)
        with self._one:
            self._on_gpu.nprobe = self.effort.at(asked)[0]
            scores, ids = self._on_gpu.search(queries, asked)
        found = []
        for of_query, places in zip(scores, ids, strict=True):
            good = places >= 0
            if rows is not None:
                good &= rows.mask[np.maximum(places, 0)]
            if np.count_nonzero(good) < k:
                return self._on_cpu.find(queries, k, rows)
            found.append((places[good][:k], of_query[good][:k]))
        return found
