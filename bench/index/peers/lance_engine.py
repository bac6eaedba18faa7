"""LanceDB, in process, over files."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree, HnswSq

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS

BLOCK = 20_000
NAME = "chunks"
FIELDS = {"id": pa.int64(), "video": pa.int64(), "vector": pa.list_(pa.float32(), 384)}


class Lance:
    """HNSW over 8-bit vectors (its quickest index), re-scored from the float32 ones; a B-tree on the video number."""

    efforts = GRAPH_EFFORTS[1:]  # it wants at least twice k, as many as are re-scored

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._pool = folder / "lance", ThreadPoolExecutor(4 * threads)
        self._table: Any = None
        self._effort = 64

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        def batches() -> Iterator[pa.RecordBatch]:
            for block in corpus.blocks(BLOCK):
                yield from _table(block).to_batches()

        database = lancedb.connect(self._folder)
        self._table = database.create_table(NAME, batches(), schema=pa.schema(FIELDS))
        self._table.create_index("vector", config=HnswSq(distance_type="dot", num_partitions=1))
        self._table.create_index("video", config=BTree())

    def save(self) -> None:
        """Written as it was built."""

    def open(self) -> None:
        self._table = lancedb.connect(self._folder).open_table(NAME)

    def effort(self, value: int) -> None:
        self._effort = value

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        asked = self._table.search(query).distance_type("dot").ef(self._effort).refine_factor(2).limit(k)
        if below is not None:
            asked = asked.where(f"video < {below}", prefilter=True)
        return asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist()  # type: ignore[no-any-return]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return list(self._pool.map(lambda query: self.search(query, k, None), queries))

    def add(self, block: Block) -> None:
        self._table.add(_table(block))

    def delete(self, ids: Numbers) -> None:
        self._table.delete(f"id IN ({', '.join(map(str, ids.tolist()))})")


def _table(block: Block) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(block.vectors).ravel()), 384)
    return pa.table([pa.array(block.ids), pa.array(block.videos), vectors], names=list(FIELDS))
