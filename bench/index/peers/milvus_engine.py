"""Milvus Lite through pymilvus: a server in the caller's process, asked over gRPC."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymilvus import DataType, MilvusClient

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS

BLOCK = 5000
NAME = "chunks"


class Milvus:
    """float32 HNSW, 16 neighbours, effort of construction 200, an inverted index on the video number."""

    efforts = GRAPH_EFFORTS

    def __init__(self, folder: Path, threads: int) -> None:  # noqa: ARG002  # has no such setting; OMP_NUM_THREADS rules
        self._path = str(folder / "milvus.db")
        self._client: Any = None
        self._effort = 64

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        self._client = MilvusClient(self._path)
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("video", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=corpus.dimension)
        self._client.create_collection(NAME, schema=schema)
        for block in corpus.blocks(BLOCK):
            self.add(block)
        self._client.flush(NAME)
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        indexes.add_index("video", index_type="INVERTED")
        self._client.create_index(NAME, indexes)
        self._client.load_collection(NAME)

    def save(self) -> None:
        self._client.flush(NAME)

    def open(self) -> None:
        self._client = MilvusClient(self._path)
        self._client.load_collection(NAME)

    def effort(self, value: int) -> None:
        self._effort = value

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        return self._search(query[None], k, "" if below is None else f"video < {below}")[0]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return self._search(queries, k, "")

    def _search(self, queries: Vectors, k: int, kept: str) -> list[list[int]]:
        parameters = {"metric_type": "IP", "params": {"ef": self._effort}}
        found = self._client.search(NAME, list(queries), limit=k, filter=kept, search_params=parameters)
        return [[hit["id"] for hit in hits] for hits in found]

    def add(self, block: Block) -> None:
        rows = zip(block.ids.tolist(), block.videos.tolist(), block.vectors, strict=True)
        self._client.insert(NAME, [{"id": row, "video": video, "vector": vector} for row, video, vector in rows])

    def delete(self, ids: Numbers) -> None:
        self._client.delete(NAME, ids=ids.tolist())
