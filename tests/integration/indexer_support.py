"""Indexers on the real servers of a test, in this process or in one of their own, and videos for them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.ids import chunk_id, new_video_id, slot_of
from services.common.rpc import connect
from services.common.runner import Service, serve
from services.common.settings import CommonSettings
from services.common.slots import bitmap, from_bitmap
from services.common.videos.model import ChunkRecord
from services.common.videos.store import VideoStore
from services.indexer.app import build
from services.indexer.settings import Settings
from tests.support.mesh import Backbone
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.unit.indexer.builders import MODEL, vector_of

SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass
class Indexer:
    """A running indexer, as its callers see it."""

    port: int
    channel: grpc.aio.Channel
    process: subprocess.Popen[bytes] | None = None

    @property
    def stub(self) -> pb_grpc.ShardServiceStub:
        return pb_grpc.ShardServiceStub(self.channel)

    async def serving(self) -> bool:
        """Whether its health says SERVING."""
        health = health_pb2_grpc.HealthStub(self.channel)
        try:
            return (await health.Check(health_pb2.HealthCheckRequest(), timeout=5)).status == SERVING
        except grpc.aio.AioRpcError:
            return False

    async def until_serving(self) -> None:
        await eventually(self.serving, 60, message="the indexer serving")

    async def state(self) -> pb.GetShardResponse:
        return await self.stub.GetShard(pb.GetShardRequest(), timeout=5)

    async def search(
        self,
        text: str = "",
        *,
        near: str = "",
        k: int = 100,
        chosen: pb.ChunkFilter | None = None,
        slots: Collection[int] = (),
        min_sequence: int = 0,
    ) -> pb.SearchShardResponse:
        request = search_request(text, near=near, k=k, chosen=chosen, slots=slots, min_sequence=min_sequence)
        return await self.stub.SearchShard(request, timeout=10)

    async def held(self) -> frozenset[int]:
        """The slots it holds whole."""
        return from_bitmap((await self.state()).slots)

    async def describe(self, slots: Collection[int], *, min_sequence: int = 0) -> dict[int, tuple[int, bytes]]:
        """Count and digest of slots."""
        request = pb.DescribeSlotsRequest(slots=sorted(slots), min_sequence=min_sequence)
        response = await self.stub.DescribeSlots(request, timeout=20)
        return {one.slot: (one.chunk_count, one.digest) for one in response.slots}

    async def contents(self) -> dict[str, str]:
        """Text by chunk id of all it holds, as the dense leg finds it."""
        return {hit.chunk.chunk_id: hit.chunk.text for hit in (await self.search(near="x", k=1000)).hits}


def search_request(
    text: str = "",
    *,
    near: str = "",
    k: int = 100,
    chosen: pb.ChunkFilter | None = None,
    slots: Collection[int] = (),
    min_sequence: int = 0,
    ids_only: bool = False,
) -> pb.SearchShardRequest:
    """A search for words, for what is near the vector of a text, or both."""
    return pb.SearchShardRequest(
        text=text,
        vector=vector_of(near).astype("<f4").tobytes() if near else b"",
        model_revision=MODEL if near else "",
        k=k,
        filter=chosen,
        slots=bitmap(slots) if slots else b"",
        min_sequence=min_sequence,
        ids_only=ids_only,
    )


def video_in(slot: int) -> str:
    """A new video id of a slot."""
    return next(video_id for video_id in iter(new_video_id, "") if slot_of(video_id) == slot)


def indexer_settings(common: CommonSettings, folder: Path, **changes: object) -> Settings:
    """Settings of an indexer on a test's servers."""
    values = {"shards": 1, "indexer_ordinal": 0, "index_dir": folder, "grpc_port": 0, "metrics_port": 0}
    return Settings(**{**common.model_dump(), **values, "snapshot_seconds": 3600, **changes})


@asynccontextmanager
async def indexer(settings: Settings) -> AsyncIterator[Indexer]:
    """An indexer in this process, stopped cleanly at the end."""
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def with_port(settings: Settings, stack: object) -> Service:
        service = await build(settings, stack)  # type: ignore[arg-type]
        service.on_serving = lambda port, _: bound.set_result(port)
        return service

    running = asyncio.create_task(serve("indexer", settings, with_port, stop=stop))
    await asyncio.wait({running, bound}, return_when=asyncio.FIRST_COMPLETED)
    assert bound.done(), f"the indexer ended with {running.result()}"
    channel = connect(f"127.0.0.1:{bound.result()}")
    try:
        yield Indexer(bound.result(), channel)
    finally:
        await channel.close()
        stop.set()
        assert await running == 0


@contextmanager
def indexer_process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An indexer as a process of its own, killed at the end if it still runs. Its port is that of the settings."""
    values = {
        **settings.model_dump(mode="json", exclude_none=True, exclude={"indexer_places"}),
        "mongo_url": settings.mongo_url.get_secret_value(),
    }
    environment = {**os.environ, **{f"EARMARK_{name.upper()}": str(value) for name, value in values.items()}}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.indexer"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def spawned(settings: Settings, log: Path) -> AsyncIterator[Indexer]:
    """An indexer as a process of its own, on a free port."""
    port = free_port()
    with indexer_process(settings.model_copy(update={"grpc_port": port}), log) as process:
        channel = connect(f"127.0.0.1:{port}")
        try:
            yield Indexer(port, channel, process)
        finally:
            await channel.close()


def records(
    video_id: str, slice_id: str, texts: Sequence[str], *, language: str = "en", speaker: str = ""
) -> list[ChunkRecord]:
    """Chunks as the embedder stores them."""
    start = 300.0 * int(slice_id)
    return [
        ChunkRecord(
            chunk_id=chunk_id(video_id, slice_id, number),
            slice_id=slice_id,
            text=text,
            start_time=start + 30.0 * number,
            end_time=start + 30.0 * (number + 1),
            embedding=vector_of(text).astype(np.float32),
            sentence_marks=[(0, start + 30.0 * number)],
            language=language,
            speaker=speaker,
        )
        for number, text in enumerate(texts)
    ]


async def add_video(
    backbone: Backbone,
    slices: Sequence[Sequence[str]],
    *,
    title: str = "A talk",
    video_id: str = "",
    collection: str = "",
    tags: Sequence[str] = (),
    duration: float = 0.0,
    language: str = "en",
    speaker: str = "",
) -> str:
    """A video all of whose slices are embedded, with the events that say so; gives its id."""
    videos, video_id = backbone.videos, video_id or new_video_id()
    await videos.create(video_id, title=title, url="https://example.org/talk.mp4", collection=collection, tags=tags)
    await videos.begin_processing(video_id)
    for number, texts in enumerate(slices):
        await add_slice(videos, video_id, f"{number:05d}", texts, language=language, speaker=speaker)
    await videos.finish_slicing(video_id, duration=duration or 300.0 * len(slices))
    return video_id


async def add_slice(
    videos: VideoStore,
    video_id: str,
    slice_id: str,
    texts: Sequence[str],
    *,
    model: str = MODEL,
    language: str = "en",
    speaker: str = "",
) -> None:
    """A slice of a video, taken through to embedded."""
    start = 300.0 * int(slice_id)
    await videos.add_slice(video_id, slice_id, start_time=start, end_time=start + 300.0)
    await videos.slice_transcribed(video_id, slice_id, language=language, asr_model="test-asr")
    chunks = records(video_id, slice_id, texts, language=language, speaker=speaker)
    assert await videos.slice_embedded(video_id, slice_id, chunks=chunks, embedding_model=model)
