"""What the bench asks of an engine, ours or a peer's. Runs in the engine's own process: imports numpy only."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.index.corpus import Block, Corpus, Numbers, Vectors

GRAPH_EFFORTS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512, 640, 768)
"""Breadths of the search in a graph, for the engines that have one."""


class Unsupported(Exception):
    """The engine cannot do that; the message says why."""


class Engine(Protocol):
    """One index over vectors of length 1, nearest by inner product.

    A search without effect of `effort` has `efforts = (0,)`. Methods raise Unsupported for what the engine has not.
    """

    efforts: Sequence[int]
    """Values of the one setting that trades time for recall, ascending."""

    def build(self, corpus: Corpus, room: int) -> None:
        """Takes all rows in, with their video numbers, ready to be searched.

        Args:
            corpus: the rows.
            room: how many rows will be added later.
        """

    def save(self) -> None:
        """Makes what was built durable in the folder, where the engine did not do so by itself."""

    def open(self) -> None:
        """Opens what another process saved; ready to be searched when it returns."""

    def effort(self, value: int) -> None:
        """Sets how hard searches try."""

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        """Ids of the `k` nearest rows to one vector, among videos with smaller numbers than `below`."""

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        """The same for several queries that are in flight at once, in the quickest way that the engine has."""

    def add(self, block: Block) -> None:
        """Adds rows, searchable when it returns."""

    def delete(self, ids: Numbers) -> None:
        """Deletes rows, never found again when it returns."""


ENGINES = {
    "Earmark": "bench.index.ours.engine:InProcess",
    "Earmark gRPC": "bench.index.ours.engine:Rpc",
    "Earmark gRPC, batch": "bench.index.ours.engine:RpcBatch",
    "Earmark gRPC, client": "bench.index.ours.engine:RpcClient",
    "Earmark tuned": "bench.index.ours.engine:InProcessTuned",
    "Earmark tuned gRPC": "bench.index.ours.engine:RpcTuned",
    "Earmark tuned gRPC, batch": "bench.index.ours.engine:RpcBatchTuned",
    "Earmark tuned gRPC, client": "bench.index.ours.engine:RpcClientTuned",
    "Earmark ivf": "bench.index.ours.engine:InProcessLists",
    "Earmark ivf_rabitq": "bench.index.ours.engine:InProcessRabitq",
    "FAISS Flat": "bench.index.peers.faiss_engine:Flat",
    "FAISS SQfp16": "bench.index.peers.faiss_engine:Half",
    "FAISS IVF,SQfp16": "bench.index.peers.faiss_engine:InvertedLists",
    "FAISS HNSW32": "bench.index.peers.faiss_engine:Graph",
    "hnswlib": "bench.index.peers.hnswlib_engine:Hnswlib",
    "usearch f32": "bench.index.peers.usearch_engine:Usearch",
    "usearch bf16": "bench.index.peers.usearch_engine:UsearchHalf",
    "Qdrant Edge": "bench.index.peers.qdrant_engine:Qdrant",
    "Milvus Lite": "bench.index.peers.milvus_engine:Milvus",
    "LanceDB": "bench.index.peers.lance_engine:Lance",
    "Chroma": "bench.index.peers.chroma_engine:Chroma",
}
"""Name in the tables, and where the engine's class is: its module imports the engine's package when it is loaded."""

OURS = "Earmark"
"""Engines whose names begin so run under the project's own Python."""

BUILT_BY = {
    "Earmark gRPC": "Earmark",
    "Earmark gRPC, batch": "Earmark",
    "Earmark gRPC, client": "Earmark",
    "Earmark tuned": "Earmark",
    "Earmark tuned gRPC": "Earmark",
    "Earmark tuned gRPC, batch": "Earmark",
    "Earmark tuned gRPC, client": "Earmark",
}
"""Engines that open what another one has built, where that one is in the run."""


def load(name: str, folder: Path, threads: int) -> Engine:
    """Makes an engine that keeps its files in `folder`. Raises ImportError where its package is not installed."""
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(folder, threads)
    return engine
