"""Bare FAISS: what our shard adds cost to."""

# mypy: disable-error-code="call-arg, arg-type, attr-defined"
# (FAISS's stubs know a part of it)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS, Unsupported

BLOCK = 20_000


class Flat:
    """Exact."""

    efforts: Sequence[int] = (0,)
    factory = "IDMap2,Flat"  # without the map it renumbers what is left after a delete

    def __init__(self, folder: Path, threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        self._path = str(folder / "index.faiss")
        self._videos_path = folder / "videos.npy"
        self._index: Any = None
        self._videos: Numbers = np.empty(0, np.int64)
        self._effort = self.efforts[0]

    def build(self, corpus: Corpus, room: int) -> None:
        self._index = faiss.index_factory(
            corpus.dimension, self._description(corpus.rows + room), faiss.METRIC_INNER_PRODUCT
        )
        if not self._index.is_trained:
            self._index.train(corpus.some(self._training_rows(corpus.rows)))
        self._prepare()
        for block in corpus.blocks(BLOCK):
            self._add(block)
        self._videos = corpus.videos()

    def _description(self, rows: int) -> str:  # noqa: ARG002  # some kinds depend on it
        return self.factory

    def _training_rows(self, rows: int) -> int:
        return rows

    def _prepare(self) -> None:
        """Between training and adding."""

    def save(self) -> None:
        faiss.write_index(self._index, self._path)
        np.save(self._videos_path, self._videos)

    def open(self) -> None:
        self._index = faiss.read_index(self._path)
        self._videos = np.load(self._videos_path)

    def effort(self, value: int) -> None:
        self._effort = value

    def _parameters(self, selector: Any = None) -> Any:
        return faiss.SearchParameters(sel=selector)

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        selector = None
        if below is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(self._videos < below, bitorder="little"))
        return self._index.search(query[None], k, params=self._parameters(selector))[1][0].tolist()  # type: ignore[no-any-return]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return self._index.search(queries, k, params=self._parameters())[1].tolist()  # type: ignore[no-any-return]

    def _add(self, block: Block) -> None:
        self._index.add_with_ids(block.vectors, block.ids)

    def add(self, block: Block) -> None:
        self._add(block)
        self._videos = np.concatenate([self._videos, block.videos])

    def delete(self, ids: Numbers) -> None:
        self._index.remove_ids(faiss.IDSelectorBatch(ids))


class Half(Flat):
    """Exact over float16."""

    factory = "IDMap2,SQfp16"

    def _training_rows(self, rows: int) -> int:
        return min(rows, 1000)  # float16 learns nothing from them


class InvertedLists(Flat):
    """float16 in lists around centres; the effort is how many lists are read."""

    efforts = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 1536, 2048)

    def _description(self, rows: int) -> str:
        return f"IVF{_lists(rows)},SQfp16"

    def _training_rows(self, rows: int) -> int:
        return 64 * _lists(rows)

    def _prepare(self) -> None:
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)

    def _parameters(self, selector: Any = None) -> Any:
        return faiss.SearchParametersIVF(sel=selector, nprobe=self._effort)

    def delete(self, ids: Numbers) -> None:
        self._index.remove_ids(faiss.IDSelectorArray(ids))


class Graph(Flat):
    """float32 in a graph of 32 neighbours."""

    efforts = GRAPH_EFFORTS
    factory = "HNSW32"

    def _prepare(self) -> None:
        self._index.hnsw.efConstruction = 200

    def _add(self, block: Block) -> None:
        self._index.add(block.vectors)

    def _parameters(self, selector: Any = None) -> Any:
        return faiss.SearchParametersHNSW(sel=selector, efSearch=self._effort)

    def delete(self, ids: Numbers) -> None:  # noqa: ARG002  # the protocol's
        raise Unsupported("FAISS deletes nothing from a graph")


def _lists(rows: int) -> int:
    """A power of two near four times the square root of the rows."""
    return int(2 ** np.round(np.log2(4 * np.sqrt(rows))))
