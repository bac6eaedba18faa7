"""usearch, in float32 and in bfloat16. Its Python package has no filters."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from usearch.index import Index

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS, Unsupported

BLOCK = 20_000


class Usearch:
    """float32, its defaults for the graph: 16 neighbours, effort of construction 128."""

    efforts = GRAPH_EFFORTS
    kind = "f32"

    def __init__(self, folder: Path, threads: int) -> None:
        self._path, self._threads = folder / "index.usearch", threads
        self._index = Index(ndim=384, metric="ip", dtype=self.kind, connectivity=16, expansion_add=128)

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        for block in corpus.blocks(BLOCK):
            self._index.add(block.ids, block.vectors, threads=self._threads)

    def save(self) -> None:
        self._index.save(self._path)

    def open(self) -> None:
        self._index.load(self._path)

    def effort(self, value: int) -> None:
        self._index.expansion_search = value

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        if below is not None:
            raise Unsupported("no filters from Python")
        return self._index.search(query, k, threads=1).keys.tolist()  # type: ignore[no-any-return]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return self._index.search(queries, k, threads=self._threads).keys.tolist()  # type: ignore[no-any-return]

    def add(self, block: Block) -> None:
        self._index.add(block.ids, block.vectors, threads=self._threads)

    def delete(self, ids: Numbers) -> None:
        self._index.remove(ids)


class UsearchHalf(Usearch):
    """bfloat16: half the memory."""

    kind = "bf16"
