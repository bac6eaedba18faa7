"""A whole gateway in this process, on real servers, with fake peers that are real gRPC servers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from earmark.internal.v1 import shard_service_pb2 as shard_pb
from services.common.events import topology
from services.common.registry import IndexerRegistry, Peer
from services.common.rpc import connect
from services.common.runner import serve
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from services.gateway.app import build
from services.gateway.settings import Settings
from tests.support.gateway_peers import FakeEmbedder, FakeShard, PeerServer, peer, spread
from tests.support.mesh import Backbone, backbone
from tests.support.ports import free_port
from tests.support.waiting import eventually


@dataclass
class Gateway:
    """A running gateway and what it runs on."""

    settings: Settings
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    backbone: Backbone
    embedder: FakeEmbedder
    shards: Sequence[FakeShard]
    servers: dict[str, PeerServer]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[int] | None = None
    first_sequence: int = 1
    """Of the events of this test, in the stream of events."""

    def index(self, *chunks: shard_pb.Chunk) -> None:
        """Puts chunks into the shards that own them."""
        spread(self.shards, *chunks)

    async def upload(self, data: bytes = b"media", name: str = "talk.mp4", kind: str = "video/mp4") -> dict[str, Any]:
        """Uploads a file and gives its video, a new one each time."""
        files: dict[str, Any] = {"duplicate": (None, "allow"), "file": (name, data, kind)}
        response = await self.http.post("/videos/upload", files=files)
        assert response.status_code == 202, response.text
        video: dict[str, Any] = response.json()
        return video

    async def clean(self) -> None:
        """Takes away what a test left, so that the next one can use the same gateway.

        Not what the gateway knows by itself (which peers are well, what it measured, vectors of queries): a test that
        depends on it, or on settings of its own, starts a gateway of its own.
        """
        assert self.task is not None
        assert not self.task.done(), f"the gateway ended: {self.task}"
        database, jetstream = self.backbone.database, self.backbone.bus.js
        for name in await database.list_collection_names():
            if name not in {"indexers", "routing", "schema"}:
                await database[name].delete_many({})
        for stream in topology.STREAMS:
            await jetstream.purge_stream(stream.name)
        self.first_sequence = await self.backbone.bus.last_sequence() + 1
        await self.backbone.objects.delete_prefix("")
        if (root := self.backbone.objects.root) is not None:
            for path in root.iterdir():  # also what is half written, which is no object
                shutil.rmtree(path)
        self.http.cookies.clear()
        for fake in (self.embedder, *self.shards):
            vars(fake).update(vars(FakeEmbedder() if isinstance(fake, FakeEmbedder) else FakeShard(fake.shard)))


def error_of(response: httpx.Response, code: int, status: str, reason: str) -> dict[str, Any]:
    """Checks that a response is an error of the one shape and gives it."""
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "status", "message", "details"}
    assert (error["code"], error["status"], error["details"][0]["reason"]) == (code, status, reason)
    assert error["details"][0]["domain"] == "earmark"
    assert error["message"]
    return error


@asynccontextmanager
async def gateway(common: CommonSettings, **given: Any) -> AsyncIterator[Gateway]:
    """Runs a gateway with an embedder and two shards."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(backbone(common))
        embedder, shards = FakeEmbedder(), [FakeShard(0), FakeShard(1)]
        servers = {"embedder": await stack.enter_async_context(peer(embedder))}
        registry = IndexerRegistry(base.database)
        for fake in shards:
            server = servers[f"shard {fake.shard}"] = await stack.enter_async_context(peer(fake))
            await registry.announce(Peer(fake.shard, fake.replica, server.target))
        await SlotTables(base.database).load_or_create(len(shards))
        settings = Settings(
            **{
                **common.model_dump(),
                "http_port": free_port(),
                "grpc_port": free_port(),
                "embedder_target": servers["embedder"].target,
                "health_every_seconds": 0.1,
                "routing_every_seconds": 0.2,
                "watch_poll_seconds": 0.3,
                "search_deadline_seconds": 1.5,
                "delete_undo_seconds": 0,
                **given,
            }
        )
        url = f"http://127.0.0.1:{settings.http_port}"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20, verify=False))
        channel = connect(f"127.0.0.1:{settings.grpc_port}")
        stack.push_async_callback(channel.close, None)
        running = Gateway(settings, http, channel, base, embedder, shards, servers)
        running.task = asyncio.create_task(serve("gateway", settings, build, stop=running.stop))

        async def ready() -> bool:
            assert running.task is not None
            assert not running.task.done() or running.stop.is_set(), f"the gateway ended: {running.task}"
            return (await http.get("/readyz")).status_code == 200

        try:
            await eventually(ready, 30, retry_on=(AssertionError, httpx.TransportError), message="the gateway is ready")
            yield running
        finally:
            running.stop.set()
            assert await asyncio.wait_for(running.task, 20) == 0, "the gateway did not stop cleanly"
