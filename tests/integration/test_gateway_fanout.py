"""Fan-out over real gRPC: slow, failing and missing replicas."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError, InvalidArgument, Unavailable
from services.common.ids import SLOTS
from services.common.slots import SlotTable
from services.gateway.clients import GrpcEmbedder, GrpcShard
from services.gateway.directory import Replica, StaticDirectory
from services.gateway.fanout import Fanout, HedgeDelay, Missing, ShardAnswers
from services.gateway.routing import ANY, Freshness, Routes
from tests.support.gateway_peers import (
    DIMENSION,
    MODEL,
    FakeEmbedder,
    FakeShard,
    chunk,
    even_table,
    peer,
    routes_of,
    video_of_slot,
)
from tests.support.ports import free_port
from tests.support.waiting import eventually

REQUEST = pb.SearchShardRequest(text="bread", k=10)


class Mesh:
    """Shards with replicas, each a real server."""

    def __init__(self, directory: StaticDirectory, shards: int, *, hedge_seconds: float) -> None:
        self.directory = directory
        self.table: SlotTable | None = even_table(shards)
        self.routes = Routes(self.load)
        hedge = HedgeDelay(initial_seconds=hedge_seconds, floor_seconds=hedge_seconds)
        self.fanout = Fanout(directory=directory, routes=self.routes, hedge=hedge)

    async def load(self) -> SlotTable | None:
        return self.table

    async def search(self, seconds: float = 5.0, *, fresh: Freshness = ANY, taste: int = 0) -> ShardAnswers:
        """Searches; `taste` changes the question so that it goes to another replica, but not what it finds."""
        request = pb.SearchShardRequest(text=REQUEST.text + " ?" * taste, k=REQUEST.k)
        return await self.fanout.search(request, depth=10, deadline=time.monotonic() + seconds, fresh=fresh)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def start(stack: AsyncExitStack, *rows: list[FakeShard], hedge_seconds: float = 0.03) -> Mesh:
    clients: list[list[GrpcShard]] = []
    for row in rows:
        clients.append([])
        for fake in row:
            server = await stack.enter_async_context(peer(fake))
            client = GrpcShard.connect(server.target)
            stack.push_async_callback(client.close)
            clients[-1].append(client)
    mesh = Mesh(StaticDirectory(clients), len(rows), hedge_seconds=hedge_seconds)
    await mesh.routes.refresh()
    return mesh


def video(number: int, *, of: int) -> str:
    """The video that `shard(number)` has, of so many shards."""
    return video_of_slot(range(number * SLOTS // of, (number + 1) * SLOTS // of))


def shard(number: int, *, of: int = 1) -> FakeShard:
    return FakeShard(shard=number, chunks=[chunk(video(number, of=of), 0, f"bread number {number}")])


def ids(answers: ShardAnswers) -> list[str]:
    return sorted(hit.chunk.video_id for response in answers.responses for hit in response.hits)


async def test_every_shard_is_asked_once(stack: AsyncExitStack) -> None:
    rows = [[shard(number, of=4)] for number in range(4)]
    mesh = await start(stack, *rows)
    answers = await mesh.search()
    assert set(ids(answers)) == {video(number, of=4) for number in range(4)}
    assert answers.shards == [0, 1, 2, 3]
    assert answers.missing == []
    assert [row[0].behaviour.calls for row in rows] == [1, 1, 1, 1]


async def test_a_shard_that_is_too_slow_is_missing_and_does_not_delay_the_rest(stack: AsyncExitStack) -> None:
    slow = shard(1, of=2)
    slow.behaviour.delay_seconds = 30
    mesh = await start(stack, [shard(0, of=2)], [slow])
    started = time.monotonic()
    answers = await mesh.search(0.4)
    assert time.monotonic() - started < 3
    assert ids(answers) == [video(0, of=2)]
    assert answers.missing == [Missing(1, "DEADLINE_EXCEEDED")]


async def test_an_unavailable_replica_is_replaced_by_another(stack: AsyncExitStack) -> None:
    broken, sound = shard(0), shard(0)
    broken.behaviour.error = Unavailable("catching up")
    mesh = await start(stack, [broken, sound], hedge_seconds=5)  # on a busy machine the sound one can be slow
    for taste in range(8):
        answers = await mesh.search(taste=taste)
        assert (ids(answers), answers.missing) == ([video(0, of=1)], [])
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
    for taste in range(8):  # the slow one comes first at least once
        assert ids(await mesh.search(taste=taste)) == [video(0, of=1)]
    assert time.monotonic() - started < 5
    assert mesh.fanout.hedges == slow.behaviour.calls >= 1
    await eventually(lambda: slow.behaviour.cancelled == slow.behaviour.calls)
    assert all(replica.outstanding == 0 for replica in mesh.directory.replicas(0))


async def test_nobody_listening_is_missing_at_once(stack: AsyncExitStack) -> None:
    client = GrpcShard.connect(f"127.0.0.1:{free_port()}")
    stack.push_async_callback(client.close)
    fanout = Fanout(directory=StaticDirectory([[client]]), routes=routes_of(1))
    started = time.monotonic()
    answers = await fanout.search(REQUEST, depth=10, deadline=started + 10)
    assert answers.missing == [Missing(0, "UNAVAILABLE")]
    assert time.monotonic() - started < 5


async def test_a_replica_says_how_it_is(stack: AsyncExitStack) -> None:
    fake = FakeShard(
        shard=3, replica=1, applied_sequence=41, lag=2, slots=frozenset({7}), chunks=[chunk("vid_x", 0, "x")]
    )
    server = await stack.enter_async_context(peer(fake))
    client = GrpcShard.connect(server.target)
    stack.push_async_callback(client.close)
    replica = Replica(client, 3)
    replica.looked_at(await client.state(timeout=5))
    assert (replica.ready, replica.lag, replica.applied_sequence, replica.slots) == (True, 2, 41, 1 << 7)
    assert (replica.model_revision, replica.slot_table_version) == (MODEL, 1)
    away = GrpcShard.connect(f"127.0.0.1:{free_port()}")
    stack.push_async_callback(away.close)
    assert await away.state(timeout=0.5) is None


async def test_many_searches_go_in_one_call(stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(peer(shard(0)))
    client = GrpcShard.connect(server.target)
    stack.push_async_callback(client.close)
    other = pb.SearchShardRequest(text="stone", k=10)
    found = await client.search_many([REQUEST, other, REQUEST], timeout=5)
    assert [len(response.hits) for response in found] == [1, 0, 1]
    with pytest.raises(EarmarkError) as refused:
        await client.search_many([REQUEST, pb.SearchShardRequest(text="bread")], timeout=5)
    assert refused.value.code == "INVALID_ARGUMENT"


async def test_searches_that_would_wait_go_together_and_one_that_is_refused_fails_alone(
    stack: AsyncExitStack,
) -> None:
    fake = shard(0)
    fake.search_threads, fake.behaviour.until = 1, asyncio.Event()
    server = await stack.enter_async_context(peer(fake))
    client = GrpcShard.connect(server.target)
    stack.push_async_callback(client.close)
    assert await client.state(timeout=20) is not None
    requests = [REQUEST, REQUEST, pb.SearchShardRequest(text="bread"), REQUEST]
    tasks = [asyncio.create_task(client.search(request, timeout=60)) for request in requests]
    given_up = asyncio.create_task(client.search(REQUEST, timeout=60))
    await eventually(lambda: fake.behaviour.calls == 1)
    given_up.cancel()
    fake.behaviour.until.set()
    first, second, refused, last = await asyncio.gather(*tasks, return_exceptions=True)
    for found in (first, second, last):
        assert isinstance(found, pb.SearchShardResponse)
        assert [hit.chunk.video_id for hit in found.hits] == [video(0, of=1)]
    assert isinstance(refused, EarmarkError)
    assert refused.code == "INVALID_ARGUMENT"
    assert fake.batches == [3]


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
