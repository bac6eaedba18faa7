"""A shard filled from the database: its reading alone, with the decoding, and all; and without a database."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, cast

from bench.index import data
from bench.index.ours import folder as index
from bench.index.ours import mesh, spoken
from services.common.ids import SLOTS
from services.common.videos.model import ChunkRecord, Video
from services.common.videos.store import VideoStore
from services.indexer.fill import Filling
from services.indexer.indexing import Indexing

Counted = Callable[[], Awaitable[int]]


async def measure(work: Path, found: data.Dataset, *, chunks: int) -> dict[str, Any]:
    """Writes documents, then reads and fills; rates are chunks a second."""
    videos = spoken.some(found.corpus, chunks)
    total = sum(video.chunks for video in videos)
    numbers: dict[str, Any] = {"chunks": total}
    async with mesh.backbone(work / "rebuild") as backbone:
        numbers["database"] = backbone.database_name
        begun = time.perf_counter()
        await mesh.write(backbone.videos, videos, indexed=True)
        numbers["written/s"] = total / (time.perf_counter() - begun)
        scanned: list[tuple[Video, list[ChunkRecord]]] = []

        async def raw() -> int:
            query = {"slot": {"$in": list(range(SLOTS))}}
            return sum([len(document["transcripts"]) async for document in backbone.database["videos"].find(query)])

        async def decoded() -> int:
            scanned[:] = [pair async for pair in backbone.videos.scan(range(SLOTS))]
            return sum(len(records) for _, records in scanned)

        numbers |= await _timed("read, raw", raw)
        numbers |= await _timed("read and decoded", decoded)
        numbers |= await _timed("rebuilt", lambda: _fill(work / "filled", backbone.videos, backbone.videos))
        given = cast("VideoStore", _Given(scanned))
        numbers |= await _timed("filled without a database", lambda: _fill(work / "given", given, backbone.videos))
    return numbers


class _Given:
    """Documents that are there already."""

    def __init__(self, pairs: list[tuple[Video, list[ChunkRecord]]]) -> None:
        self._pairs = pairs

    async def embedding_models(self, slots: Collection[int]) -> dict[str, int]:  # noqa: ARG002
        return dict(Counter(video.metadata.embedding_model or "" for video, _ in self._pairs))

    async def scan(self, slots: Collection[int]) -> AsyncIterator[tuple[Video, list[ChunkRecord]]]:  # noqa: ARG002
        for pair in self._pairs:
            yield pair
            await asyncio.sleep(0)


async def _fill(folder: Path, source: VideoStore, videos: VideoStore) -> int:
    replica = index.replica(folder, index.policy_of("", 1), 2)
    replica.begin_anew()

    async def end() -> int:
        return 1

    await Filling(replica.opened, videos=source, indexing=Indexing(videos=videos), end=end).run(range(SLOTS))
    chunks = replica.shard.chunk_count
    await replica.close()
    return chunks


async def _timed(name: str, work: Counted) -> dict[str, float]:
    begun, cpu, children = time.perf_counter(), time.process_time(), _children()
    chunks = await work()
    seconds = time.perf_counter() - begun
    return {
        f"{name}/s": chunks / seconds,
        f"{name}: own CPU µs a chunk": 1e6 * (time.process_time() - cpu) / chunks,
        f"{name}: builder's CPU µs a chunk": 1e6 * (_children() - children) / chunks,
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
