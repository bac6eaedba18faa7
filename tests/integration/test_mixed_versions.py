"""Gateway, indexer and embedder with only the released protocol between them, and a client that knows nothing else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.events import topology
from services.common.registry import IndexerRegistry, Peer
from services.common.rpc import connect
from services.common.runner import serve
from services.embedder.app import build as build_embedder
from services.embedder.settings import Settings as EmbedderSettings
from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from tests.integration.indexer_support import indexer, indexer_settings
from tests.support import released
from tests.support.mesh import Backbone
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

PUBLIC = "/earmark.v1."
WORDS = "The yeast eats the sugar, and that is what makes bread rise."


async def ask(channel: grpc.aio.Channel, path: str, **fields: Any) -> Any:
    """A call by a program of the release."""
    method = released.methods()[PUBLIC + path]
    request, response = (released.message(kind.full_name) for kind in (method.input_type, method.output_type))
    call = channel.unary_unary(
        PUBLIC + path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    return await call(request(**fields), timeout=20)


async def test_services_that_know_the_release_alone_serve_and_are_served(backbone: Backbone, tmp_path: Path) -> None:
    common, stop = backbone.settings.model_dump() | {"metrics_port": 0}, asyncio.Event()
    ports = {name: free_port() for name in ("embedder", "gateway", "http", "embedder-relay", "indexer-relay")}
    embedder = EmbedderSettings(**common | {"grpc_port": ports["embedder"], "embedding_model": "hash:32"})
    gateway = GatewaySettings(
        **common
        | {
            "grpc_port": ports["gateway"],
            "http_port": ports["http"],
            "embedder_target": f"127.0.0.1:{ports['embedder-relay']}",
            "health_every_seconds": 0.1,
            "routing_every_seconds": 0.2,
        }
    )
    async with AsyncExitStack() as stack:
        of_embedder = await stack.enter_async_context(
            released.relay(f"127.0.0.1:{ports['embedder']}", ports["embedder-relay"])
        )
        running = await stack.enter_async_context(indexer(indexer_settings(backbone.settings, tmp_path / "index")))
        of_indexer = await stack.enter_async_context(
            released.relay(f"127.0.0.1:{running.port}", ports["indexer-relay"])
        )
        await IndexerRegistry(backbone.database).announce(Peer(0, 0, f"127.0.0.1:{ports['indexer-relay']}"))
        tasks = [
            asyncio.create_task(serve("embedder", embedder, build_embedder, stop=stop)),
            asyncio.create_task(serve("gateway", gateway, build_gateway, stop=stop)),
        ]
        try:
            async with connect(f"127.0.0.1:{ports['gateway']}") as channel:
                await used_by_a_client_of_the_release(channel)
        finally:
            stop.set()
            assert await asyncio.gather(*tasks) == [0, 0]
    # By way of the relays, and not around them.
    assert "/earmark.internal.v1.EmbedderService/Embed" in of_embedder
    assert any(path.startswith("/earmark.internal.v1.ShardService/SearchShard") for path in of_indexer)
    await read_by_consumers_of_the_release(backbone)


async def used_by_a_client_of_the_release(channel: grpc.aio.Channel) -> None:
    segment = released.message("earmark.v1.TranscriptSegment")
    lines = [segment(text=WORDS, end_offset={"seconds": 5})]

    async def taken() -> Any:
        return await ask(channel, "VideoService/ImportVideo", video={"title": "Bread"}, language="en", segments=lines)

    video = (await eventually(taken, 30, retry_on=(grpc.aio.AioRpcError,))).video

    async def found() -> Any:
        said = await ask(channel, "SearchService/Search", query="yeast sugar")
        whole = said.coverage.shards_answered == said.coverage.shards_total == 1 and len(said.coverage.legs) == 2
        return said if said.hits and whole else None

    first, again = await eventually(found, 60, retry_on=(grpc.aio.AioRpcError,)), await found()
    assert [hit.video_id for hit in first.hits] == [video.video_id]
    assert WORDS in first.hits[0].text
    assert again.hits == first.hits
    assert (await ask(channel, "VideoService/GetVideo", video_id=video.video_id)).video.title == "Bread"
    listed = await ask(channel, "VideoService/ListVideos")
    assert [one.video_id for one in listed.videos] == [video.video_id]
    await ask(channel, "VideoService/DeleteVideo", video_id=video.video_id)


async def read_by_consumers_of_the_release(backbone: Backbone) -> None:
    """Each event that was sent, in a subject and with fields that the release has."""
    stream = await backbone.bus.js.stream_info(topology.EVENTS)
    kinds = set()
    for sequence in range(1, stream.state.last_seq + 1):
        stored = await backbone.bus.js.get_msg(topology.EVENTS, sequence)
        kind = topology.kind_of(str(stored.subject))
        name = topology.MESSAGES[kind].DESCRIPTOR.full_name
        try:
            of_release = released.message(name)
        except KeyError:
            continue  # of a kind that no consumer of the release asks for
        kinds.add(kind)
        read = of_release.FromString(stored.data or b"")
        assert read.video_id  # type: ignore[attr-defined]
        now = topology.MESSAGES[kind].FromString(stored.data or b"")
        assert [field.name for field, _ in read.ListFields()] == [field.name for field, _ in now.ListFields()]
    assert {"slice.transcribed", "slice.embedded", "slice.indexed"} <= kinds
