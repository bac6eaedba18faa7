"""A shard filled from the database: its reading alone, the decoding alone, and all; and without a database."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, cast

from bench.index import data
from bench.index.ours import folder as index
from bench.index.ours import mesh, spoken
from bench.index.ours.spoken import Spoken
from services.common.ids import SLOTS, slot_of
from services.common.mongo import Database
from services.common.videos.store import VideoStore
from services.common.videos.stored import StoredVideo, chunk_records
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
        await mesh.write(backbone.videos, videos[:1], indexed=True)
        await _copied(backbone.database, videos[0], videos[1:])
        scanned: list[StoredVideo] = []

        async def raw() -> int:
            scanned[:] = [stored async for stored in backbone.videos.scan(range(SLOTS))]
            return total

        async def decoded() -> int:
            return sum(len(chunk_records(stored.read()[1])) for stored in scanned)

        numbers |= await _timed("read, raw", raw)
        numbers |= await _timed("decoded", decoded)
        numbers |= await _timed("rebuilt", lambda: _fill(work / "filled", backbone.videos, backbone.videos))
        given = cast("VideoStore", _Given(scanned))
        numbers |= await _timed("filled without a database", lambda: _fill(work / "given", given, backbone.videos))
    return numbers


async def _copied(database: Database, first: Spoken, others: list[Spoken]) -> None:
    """Writes videos as the services left the first one: slice by slice it would take a hundred times as long."""
    model = await database["videos"].find_one({"_id": first.video_id})
    assert model is not None, "it was written just now"
    for video in others:
        changed = {
            "_id": video.video_id,
            "title": video.video_id,
            "slot": slot_of(video.video_id),
            "slices": [part for part in model["slices"] if part["slice_id"] in video.slices],
            "transcripts": [record.to_document() for records in video.slices.values() for record in records],
        }
        await database["videos"].insert_one(model | changed)


class _Given:
    """Documents that are there already."""

    def __init__(self, videos: list[StoredVideo]) -> None:
        self._videos = videos

    async def embedding_models(self, slots: Collection[int]) -> dict[str, int]:  # noqa: ARG002
        return {index.MODEL: len(self._videos)}

    async def scan(self, slots: Collection[int]) -> AsyncIterator[StoredVideo]:  # noqa: ARG002
        for stored in self._videos:
            yield stored
            await asyncio.sleep(0)


async def _fill(folder: Path, source: VideoStore, videos: VideoStore) -> int:
    replica = index.replica(folder, index.policy_of("", 1), 2)
    replica.begin_anew()

    async def end() -> int:
        return 1

    await Filling(replica.opened, videos=source, indexing=Indexing(videos=videos), end=end).run(range(SLOTS))
    chunks = replica.shard.chunk_count
    await replica.close()
    for builder in multiprocessing.active_children():  # what it took is known when it has ended
        await asyncio.to_thread(builder.join)
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
