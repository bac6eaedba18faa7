"""Real servers for the bench: nats-server, MongoDB or its stand-in, and an indexer, as `earmark up` starts them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pydantic import SecretStr

from bench.index.ours import folder as index
from bench.index.ours.spoken import CHUNK_SECONDS, Spoken
from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from earmark.local import servers
from earmark.local.paths import DataDir
from earmark.local.ports import HOST
from earmark.local.process import ChildSpec
from services.common import mongo
from services.common.events.bus import EventBus
from services.common.migrations.schema import Schema
from services.common.rpc import connect
from services.common.settings import CommonSettings
from services.common.videos.store import VideoStore

START_SECONDS = 60.0
WRITERS = 8


@dataclass(frozen=True, slots=True)
class Backbone:
    """What the services have in common, connected."""

    settings: CommonSettings
    bus: EventBus
    database: mongo.Database
    videos: VideoStore
    database_name: str


@asynccontextmanager
async def backbone(folder: Path) -> AsyncIterator[Backbone]:
    """Starts both servers on a new folder, connects, and ends them."""
    data = DataDir(folder)
    data.run.mkdir(parents=True)
    nats, database = _free_port(), _free_port()
    async with AsyncExitStack() as stack:
        for spec in (servers.nats(data, nats), servers.mongo(data, database)):
            stack.enter_context(_running(spec, data.run))
            await _until(spec.ready, spec.name)
        settings = CommonSettings(
            nats_url=servers.nats_url(nats),
            mongo_url=SecretStr(servers.mongo_url(database)),
            object_store_url=(folder / "objects").absolute().as_uri(),
        )
        connected = await mongo.connect(settings, stack)
        bus = await EventBus.connect(settings, name="bench")
        stack.push_async_callback(bus.close)
        videos = VideoStore(connected, bus)
        await Schema(connected).migrate()
        program = servers.find_program("mongod")
        yield Backbone(settings, bus, connected, videos, "mongod" if program else "SecantusDB, the stand-in")


async def write(videos: VideoStore, wanted: list[Spoken], *, indexed: bool) -> None:
    """Writes documents in the way of the services, slice by slice.

    Args:
        videos: Where to.
        wanted: The videos.
        indexed: Whether they are to look as if an index had them.
    """
    gate = asyncio.Semaphore(WRITERS)

    async def one(spoken: Spoken) -> None:
        async with gate:
            await create(videos, spoken)
            for slice_id, chunks in spoken.slices.items():
                await videos.slice_embedded(spoken.video_id, slice_id, chunks=chunks, embedding_model=index.MODEL)
                if indexed:
                    await videos.slice_indexed(spoken.video_id, slice_id, sequence=1)

    await asyncio.gather(*map(one, wanted))


async def create(videos: VideoStore, spoken: Spoken) -> None:
    """Writes a document with all its slices transcribed."""
    slices = [(name, of[0].start_time, of[-1].end_time) for name, of in spoken.slices.items()]
    duration = CHUNK_SECONDS * spoken.chunks
    made = await videos.create_imported(
        spoken.video_id, title=spoken.video_id, slices=slices, duration=duration, asr_model="bench", language="en"
    )
    assert made is not None, f"{spoken.video_id} is there already"


@asynccontextmanager
async def indexer(settings: CommonSettings, folder: Path) -> AsyncIterator[tuple[Any, int]]:
    """Starts a real indexer of the only shard; gives a stub of it and its process id, when it answers searches."""
    port = _free_port()
    values = {
        "NATS_URL": settings.nats_url,
        "MONGO_URL": settings.mongo_url.get_secret_value(),
        "OBJECT_STORE_URL": settings.object_store_url,
        "SHARDS": 1,
        "INDEXER_ORDINAL": 0,
        "INDEX_DIR": folder,
        "GRPC_PORT": port,
        "METRICS_PORT": 0,
        "LOG_LEVEL": "warning",
    }
    environment = {**os.environ, **{f"EARMARK_{name}": str(value) for name, value in values.items()}}
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    channel = connect(f"{HOST}:{port}")
    stub = pb_grpc.ShardServiceStub(channel)  # type: ignore[no-untyped-call]

    async def ready() -> bool:
        return await _answers(stub)

    spec = ChildSpec(name="indexer", command=(sys.executable, "-m", "services.indexer"), ready=ready)
    with _running(spec, folder, environment) as process:
        try:
            await _until(ready, spec.name)
            yield stub, process.pid
        finally:
            await channel.close(None)


async def _answers(stub: Any) -> bool:
    try:
        return bool((await stub.GetShard(pb.GetShardRequest(), timeout=5)).ready)
    except grpc.aio.AioRpcError:
        return False


async def _until(ready: Callable[[], Any], name: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not await ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{name} does not answer")
        await asyncio.sleep(0.05)


@contextmanager
def _running(
    spec: ChildSpec, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{spec.name}.log").open("ab") as output:
        process = subprocess.Popen(
            spec.command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment or {**os.environ, **spec.environment},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(spec.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
