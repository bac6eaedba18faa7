"""Chroma, in process, over files."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS

BLOCK = 5000
NAME = "chunks"


class Chroma:
    """float32 HNSW, 16 neighbours, effort of construction 200."""

    efforts = GRAPH_EFFORTS

    def __init__(self, folder: Path, threads: int) -> None:
        self._client = chromadb.PersistentClient(folder / "chroma", settings=Settings(anonymized_telemetry=False))
        self._threads = threads
        self._collection: Any = None

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        graph = {"space": "ip", "max_neighbors": 16, "ef_construction": 200, "num_threads": self._threads}
        self._collection = self._client.create_collection(NAME, configuration={"hnsw": graph}, embedding_function=None)
        for block in corpus.blocks(BLOCK):
            self.add(block)

    def save(self) -> None:
        """Written as it was built."""

    def open(self) -> None:
        self._collection = self._client.get_collection(NAME, embedding_function=None)

    def effort(self, value: int) -> None:
        self._collection.modify(configuration={"hnsw": {"ef_search": value}})

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        kept = None if below is None else {"video": {"$lt": below}}
        found = self._collection.query(query_embeddings=[query], n_results=k, where=kept, include=[])
        return [int(name) for name in found["ids"][0]]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        found = self._collection.query(query_embeddings=list(queries), n_results=k, include=[])
        return [[int(name) for name in names] for names in found["ids"]]

    def add(self, block: Block) -> None:
        self._collection.add(
            ids=[str(row) for row in block.ids.tolist()],
            embeddings=block.vectors,
            metadatas=[{"video": video} for video in block.videos.tolist()],
        )

    def delete(self, ids: Numbers) -> None:
        self._collection.delete(ids=[str(row) for row in ids.tolist()])
