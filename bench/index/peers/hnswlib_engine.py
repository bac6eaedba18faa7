"""hnswlib: the graph that most vector databases began with."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS

BLOCK = 20_000


class Hnswlib:
    """float32, 16 neighbours, effort of construction 200 (its documentation's example)."""

    efforts = GRAPH_EFFORTS

    def __init__(self, folder: Path, threads: int) -> None:
        self._path, self._videos_path, self._threads = str(folder / "index.hnsw"), folder / "videos.npy", threads
        self._index: Any = None
        self._videos: Numbers = np.empty(0, np.int64)

    def build(self, corpus: Corpus, room: int) -> None:
        self._index = hnswlib.Index("ip", corpus.dimension)
        self._index.init_index(corpus.rows + room, M=16, ef_construction=200)
        for block in corpus.blocks(BLOCK):
            self._index.add_items(block.vectors, block.ids, num_threads=self._threads)
        self._videos = corpus.videos()

    def save(self) -> None:
        self._index.save_index(self._path)
        np.save(self._videos_path, self._videos)

    def open(self) -> None:
        self._videos = np.load(self._videos_path)
        self._index = hnswlib.Index("ip", 384)
        self._index.load_index(self._path)

    def effort(self, value: int) -> None:
        self._index.set_ef(value)

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        if below is None:
            return self._index.knn_query(query, k, num_threads=1)[0][0].tolist()  # type: ignore[no-any-return]
        videos = self._videos
        try:
            found = self._index.knn_query(query, k, num_threads=1, filter=lambda row: videos[row] < below)
        except RuntimeError:  # it gives nothing where it finds fewer than k
            return []
        return found[0][0].tolist()  # type: ignore[no-any-return]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return self._index.knn_query(queries, k, num_threads=self._threads)[0].tolist()  # type: ignore[no-any-return]

    def add(self, block: Block) -> None:
        self._index.add_items(block.vectors, block.ids, num_threads=self._threads)
        self._videos = np.concatenate([self._videos, block.videos])

    def delete(self, ids: Numbers) -> None:
        for row in ids.tolist():
            self._index.mark_deleted(row)
