"""Indexers on the real servers of a test, in this process or in one of their own, and videos for them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.ids import chunk_id, new_video_id
from services.common.rpc import connect
from services.common.runner import Service, serve
from services.common.settings import CommonSettings
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

    async def search(self, text: str = "", *, near: str = "", k: int = 100) -> pb.SearchShardResponse:
        vector = vector_of(near).astype("<f4").tobytes() if near else b""
        request = pb.SearchShardRequest(text=text, vector=vector, model_revision=MODEL if near else "", k=k)
        return await self.stub.SearchShard(request, timeout=10)

    async def contents(self) -> dict[str, str]:
        """Text by chunk id of all it holds, as the dense leg finds it."""
        return {hit.chunk.chunk_id: hit.chunk.text for hit in (await self.search(near="x", k=1000)).hits}


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
        "NATS_URL": settings.nats_url,
        "MONGO_URL": settings.mongo_url.get_secret_value(),
        "MONGO_DATABASE": settings.mongo_database,
        "SHARDS": settings.shards,
        "INDEXER_ORDINAL": settings.indexer_ordinal,
        "INDEX_DIR": settings.index_dir,
        "GRPC_PORT": settings.grpc_port,
        "METRICS_PORT": settings.metrics_port,
        "SNAPSHOT_SECONDS": settings.snapshot_seconds,
        "DRAIN_SECONDS": 0,
    }
    environment = {**os.environ, **{f"EARMARK_{name}": str(value) for name, value in values.items()}}
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


def records(video_id: str, slice_id: str, texts: Sequence[str]) -> list[ChunkRecord]:
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
            language="en",
        )
        for number, text in enumerate(texts)
    ]


async def add_video(backbone: Backbone, slices: Sequence[Sequence[str]], *, title: str = "A talk") -> str:
    """A video all of whose slices are embedded, with the events that say so; gives its id."""
    videos, video_id = backbone.videos, new_video_id()
    await videos.create(video_id, title=title, url="https://example.org/talk.mp4")
    await videos.begin_processing(video_id)
    for number, texts in enumerate(slices):
        await add_slice(videos, video_id, f"{number:05d}", texts)
    await videos.finish_slicing(video_id, duration=300.0 * len(slices))
    return video_id


async def add_slice(
    videos: VideoStore, video_id: str, slice_id: str, texts: Sequence[str], *, model: str = MODEL
) -> None:
    """A slice of a video, taken through to embedded."""
    start = 300.0 * int(slice_id)
    await videos.add_slice(video_id, slice_id, start_time=start, end_time=start + 300.0)
    await videos.slice_transcribed(video_id, slice_id, language="en", asr_model="test-asr")
    chunks = records(video_id, slice_id, texts)
    assert await videos.slice_embedded(video_id, slice_id, chunks=chunks, embedding_model=model)
