"""Fan-out over real gRPC: slow, failing and missing replicas."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import InvalidArgument, Unavailable
from services.gateway.clients import GrpcEmbedder, GrpcShard
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout, HedgeDelay, Missing, ShardAnswers
from tests.support.gateway_peers import DIMENSION, FakeEmbedder, FakeShard, chunk, peer
from tests.support.ports import free_port
from tests.support.waiting import eventually

REQUEST = pb.SearchShardRequest(text="bread", k=10)


class Mesh:
    """Shards with replicas, each a real server."""

    def __init__(self, *rows: list[FakeShard]) -> None:
        self.rows = rows
        self.directory = StaticDirectory([[]])
        self.fanout = Fanout(directory=self.directory)

    async def search(self, seconds: float = 5.0) -> ShardAnswers:
        return await self.fanout.search(REQUEST, deadline=time.monotonic() + seconds)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def start(stack: AsyncExitStack, *rows: list[FakeShard], hedge_seconds: float = 0.03) -> Mesh:
    mesh = Mesh(*rows)
    clients: list[list[GrpcShard]] = []
    for row in rows:
        clients.append([])
        for fake in row:
            server = await stack.enter_async_context(peer(fake))
            client = GrpcShard.connect(server.target)
            stack.push_async_callback(client.close)
            clients[-1].append(client)
    mesh.directory = StaticDirectory(clients)
    mesh.fanout = Fanout(
        directory=mesh.directory, hedge=HedgeDelay(initial_seconds=hedge_seconds, floor_seconds=hedge_seconds)
    )
    return mesh


def shard(number: int) -> FakeShard:
    return FakeShard(shard=number, chunks=[chunk(f"vid_{number}", 0, f"bread number {number}")])


def ids(answers: ShardAnswers) -> list[str]:
    return sorted(hit.chunk.video_id for response in answers.responses for hit in response.hits)


async def test_every_shard_is_asked_once(stack: AsyncExitStack) -> None:
    rows = [[shard(number)] for number in range(4)]
    mesh = await start(stack, *rows)
    answers = await mesh.search()
    assert ids(answers) == ["vid_0", "vid_1", "vid_2", "vid_3"]
    assert answers.missing == []
    assert [row[0].behaviour.calls for row in rows] == [1, 1, 1, 1]


async def test_a_shard_that_is_too_slow_is_missing_and_does_not_delay_the_rest(stack: AsyncExitStack) -> None:
    slow = shard(1)
    slow.behaviour.delay_seconds = 30
    mesh = await start(stack, [shard(0)], [slow])
    started = time.monotonic()
    answers = await mesh.search(0.4)
    assert time.monotonic() - started < 3
    assert ids(answers) == ["vid_0"]
    assert answers.missing == [Missing(1, "DEADLINE_EXCEEDED")]


async def test_an_unavailable_replica_is_replaced_by_another(stack: AsyncExitStack) -> None:
    broken, sound = shard(0), shard(0)
    broken.behaviour.error = Unavailable("catching up")
    mesh = await start(stack, [broken, sound])
    for _ in range(4):
        answers = await mesh.search()
        assert (ids(answers), answers.missing) == (["vid_0"], [])
    assert broken.behaviour.calls >= 1
    assert mesh.fanout.retries == broken.behaviour.calls


async def test_a_request_that_is_wrong_is_not_tried_again(stack: AsyncExitStack) -> None:
    first, second = shard(0), shard(0)
    first.behaviour.error = second.behaviour.error = InvalidArgument("k is wrong")
    mesh = await start(stack, [first, second])
    assert (await mesh.search()).missing == [Missing(0, "INVALID_ARGUMENT")]
    assert first.behaviour.calls + second.behaviour.calls == 1


async def test_a_slow_replica_is_hedged_and_then_cancelled(stack: AsyncExitStack) -> None:
    slow, quick = shard(0), shard(0)
    slow.behaviour.delay_seconds = 30
    mesh = await start(stack, [slow, quick])
    started = time.monotonic()
    for _ in range(4):  # equals take turns, so the slow one comes first at least once
        assert ids(await mesh.search()) == ["vid_0"]
    assert time.monotonic() - started < 5
    assert mesh.fanout.hedges == slow.behaviour.calls >= 1
    await eventually(lambda: slow.behaviour.cancelled == slow.behaviour.calls)
    assert all(replica.outstanding == 0 for replica in mesh.directory.replicas(0))


async def test_nobody_listening_is_missing_at_once(stack: AsyncExitStack) -> None:
    client = GrpcShard.connect(f"127.0.0.1:{free_port()}")
    stack.push_async_callback(client.close)
    fanout = Fanout(directory=StaticDirectory([[client]]))
    started = time.monotonic()
    answers = await fanout.search(REQUEST, deadline=started + 10)
    assert answers.missing == [Missing(0, "UNAVAILABLE")]
    assert time.monotonic() - started < 5


async def test_health_is_what_the_peer_says(stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(peer(shard(0)))
    client = GrpcShard.connect(server.target)
    stack.push_async_callback(client.close)
    assert await client.ready(timeout=5)
    await server.set_serving(False)
    assert not await client.ready(timeout=5)


async def test_the_embedder_is_asked_again_after_it_was_away(stack: AsyncExitStack) -> None:
    port = free_port()
    embedder = GrpcEmbedder.connect(f"127.0.0.1:{port}")
    stack.push_async_callback(embedder.close)
    assert not await embedder.ready(timeout=0.5)
    async with peer(FakeEmbedder(), port=port):
        vector = await eventually(
            lambda: embedder.embed_query("bread", timeout=5), retry_on=(AssertionError, Exception)
        )
        assert len(vector.vector) == DIMENSION * 4
