"""A new chunk: from its event to the first search that finds it, on real servers and a real indexer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.index import data
from bench.index.ours import folder as index
from bench.index.ours import mesh, spoken
from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.videos.model import ChunkRecord

SLICES = 60
PAUSE_SECONDS = 0.002


async def measure(work: Path, found: data.Dataset) -> dict[str, Any]:
    """Adds slices one by one and asks for each until it is found; milliseconds."""
    videos = spoken.some(found.corpus, SLICES * spoken.CHUNKS_A_SLICE)
    from_write: list[float] = []
    from_event: list[float] = []
    async with (
        mesh.backbone(work / "fresh") as backbone,
        mesh.indexer(backbone.settings, work / "fresh-index") as (stub, _),
    ):
        for video in videos:
            await mesh.create(backbone.videos, video)
            for slice_id, chunks in video.slices.items():
                begun = time.perf_counter()
                await backbone.videos.slice_embedded(
                    video.video_id, slice_id, chunks=chunks, embedding_model=index.MODEL
                )
                published = time.perf_counter()
                await _found(stub, chunks[0])
                now = time.perf_counter()
                from_write.append(now - begun)
                from_event.append(now - published)
    return {
        "slices": len(from_event),
        **_spread("from the event", from_event),
        **_spread("from before the write", from_write),
    }


async def _found(stub: Any, chunk: ChunkRecord) -> None:
    """Asks for a chunk until it is found."""
    vector = chunk.embedding.tobytes()
    request = pb.SearchShardRequest(vector=vector, model_revision=index.MODEL, k=20, ids_only=True)
    while True:
        response = await stub.SearchShard(request, timeout=10)
        if any(hit.chunk.chunk_id == chunk.chunk_id for hit in response.hits):
            return
        await asyncio.sleep(PAUSE_SECONDS)


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}: p{part} ms": 1000 * float(np.percentile(seconds, part)) for part in (50, 95, 100)}
