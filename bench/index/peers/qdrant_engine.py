"""Qdrant Edge: Qdrant's segments in the caller's process."""

# mypy: disable-error-code="import-not-found, import-untyped"
# (the project's own environment has not the package)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    HnswIndexConfig,
    PayloadSchemaType,
    Point,
    Query,
    QueryBatchRequest,
    QueryRequest,
    RangeFloat,
    SearchParams,
    SearchRequest,
    UpdateOperation,
)

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS

BLOCK = 1000


class Qdrant:
    """float32 and Qdrant's defaults: 16 neighbours, effort of construction 100, an index on the video number."""

    efforts = GRAPH_EFFORTS

    def __init__(self, folder: Path, threads: int) -> None:
        self._path, self._threads = str(folder / "shard"), threads
        self._shard: Any = None
        self._parameters = SearchParams()

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        config = EdgeConfig(
            vectors=EdgeVectorParams(size=corpus.dimension, distance=Distance.Dot),
            hnsw_config=HnswIndexConfig(16, 100, 10_000, max_indexing_threads=self._threads),
            optimizers=EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=10_000),
            max_search_threads=self._threads,
        )
        self._shard = EdgeShard.create(self._path, config)
        self._shard.update(UpdateOperation.create_field_index("video", PayloadSchemaType.Integer))
        for block in corpus.blocks(BLOCK):
            self.add(block)
        self._shard.optimize()

    def save(self) -> None:
        self._shard.flush()

    def open(self) -> None:
        self._shard = EdgeShard.load(self._path)

    def effort(self, value: int) -> None:
        self._parameters = SearchParams(hnsw_ef=value)

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        kept = None
        if below is not None:
            kept = Filter(must=[FieldCondition("video", range=RangeFloat(lt=below))])
        request = SearchRequest(Query.Nearest(query), k, filter=kept, params=self._parameters)
        return [point.id for point in self._shard.search(request)]

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        requests = [QueryRequest(k, query=Query.Nearest(query), params=self._parameters) for query in queries]
        return [[point.id for point in found] for found in self._shard.query_batch(QueryBatchRequest(requests))]

    def add(self, block: Block) -> None:
        rows = zip(block.ids.tolist(), block.vectors, block.videos.tolist(), strict=True)
        points = [Point(row, vector, {"video": video}) for row, vector, video in rows]
        self._shard.update(UpdateOperation.upsert_points(points))

    def delete(self, ids: Numbers) -> None:
        self._shard.update(UpdateOperation.delete_points(ids.tolist()))
