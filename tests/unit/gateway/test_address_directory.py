"""A directory that knows addresses only: who is there says itself which replica it is."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.registry import Peer
from services.common.tasks import cancel
from services.gateway.address_directory import AddressDirectory
from services.gateway.addresses import Address, Known
from tests.support.waiting import eventually


class Moving(Known):
    async def run(self) -> None:
        await asyncio.Event().wait()

    def move(self, *addresses: Address) -> None:
        self._set(addresses)


class Client:
    """What is at an address: a replica, nobody, or one that never answers."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.says: pb.GetShardResponse | None = None
        self.hangs = False
        self.looks = 0
        self.closed = False

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        raise AssertionError("choosing asks nobody")

    async def search_many(
        self, requests: Sequence[pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[pb.SearchShardResponse]:
        raise AssertionError("choosing asks nobody")

    async def state(self, *, timeout: float) -> pb.GetShardResponse | None:
        self.looks += 1
        if self.hangs:
            await asyncio.Event().wait()
        return self.says

    async def close(self) -> None:
        self.closed = True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.clock = Clock()
        self.addresses = Moving()
        self.directory = AddressDirectory(
            self.addresses, connect=self.connect, linger_seconds=3, look_seconds=1, clock=self.clock
        )

    def connect(self, target: str) -> Client:
        return self.clients.setdefault(target, Client(target))

    def at(self, target: str, shard: int, replica: int, *, ready: bool = True) -> None:
        self.connect(target).says = pb.GetShardResponse(shard=shard, replica=replica, ready=ready)

    def asked(self, shard: int) -> set[str]:
        """Targets that searches of a shard go to."""
        picked = [self.directory.pick(shard) for _ in range(8)]
        return {replica.client.target for replica in picked if replica is not None}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    task = asyncio.create_task(made.directory.run(every_seconds=0.005))
    yield made
    await cancel([task])
    await made.directory.close()


async def test_a_new_address_takes_searches_once_it_has_said_which_shard_it_is(world: World) -> None:
    world.addresses.move(Address("a:1"))
    await eventually(lambda: world.clients["a:1"].looks > 2)
    assert world.asked(0) == set()
    assert await world.directory.peers() == []
    world.at("a:1", 0, 1)
    await eventually(lambda: world.asked(0) == {"a:1"})
    assert await world.directory.peers() == [Peer(0, 1, "a:1")]


async def test_one_that_hangs_holds_no_look_at_another_back(world: World) -> None:
    world.connect("hangs:1").hangs = True
    world.addresses.move(Address("hangs:1"))
    await eventually(lambda: world.clients["hangs:1"].looks == 1)
    world.at("a:1", 0, 0)
    world.addresses.move(Address("a:1"), Address("hangs:1"))
    await eventually(lambda: world.asked(0) == {"a:1"})
    assert world.clients["hangs:1"].looks == 1, "and it is not looked at twice at once"


async def test_one_that_dies_or_is_not_ready_takes_no_more(world: World) -> None:
    world.at("a:1", 0, 0)
    world.at("b:1", 0, 1)
    world.addresses.move(Address("a:1"), Address("b:1"))
    await eventually(lambda: world.asked(0) == {"a:1", "b:1"})
    world.clients["a:1"].says = None
    await eventually(lambda: world.asked(0) == {"b:1"})
    world.at("b:1", 0, 1, ready=False)
    await eventually(lambda: world.asked(0) == set())
    world.at("a:1", 0, 0)
    await eventually(lambda: world.asked(0) == {"a:1"})


async def test_one_that_is_given_another_place_moves_there(world: World) -> None:
    world.at("a:1", 0, 0)
    world.at("b:1", 1, 0)
    world.addresses.move(Address("a:1"), Address("b:1"))
    await eventually(lambda: (world.asked(0), world.asked(1)) == ({"a:1"}, {"b:1"}))
    world.at("b:1", 0, 1)
    await eventually(lambda: (world.asked(0), world.asked(1)) == ({"a:1", "b:1"}, set()))
    assert await world.directory.peers() == [Peer(0, 0, "a:1"), Peer(0, 1, "b:1")]


async def test_one_that_has_gone_is_forgotten_at_once_and_closed_later(world: World) -> None:
    world.at("a:1", 0, 0)
    world.at("b:1", 0, 1)
    world.addresses.move(Address("a:1"), Address("b:1"))
    await eventually(lambda: world.asked(0) == {"a:1", "b:1"})
    world.addresses.move(Address("b:1"))
    assert world.asked(0) == {"b:1"}
    looks = world.clients["b:1"].looks
    await eventually(lambda: world.clients["b:1"].looks > looks + 2)
    assert not world.clients["a:1"].closed, "a search may still be under way on it"
    world.clock.now += 3.1
    await eventually(lambda: world.clients["a:1"].closed)


async def test_one_about_to_end_is_asked_only_when_nobody_else_is_there(world: World) -> None:
    world.at("a:1", 0, 0)
    world.at("b:1", 0, 1)
    world.addresses.move(Address("a:1", leaving=True), Address("b:1"))
    await eventually(lambda: world.asked(0) == {"b:1"})
    world.addresses.move(Address("a:1", leaving=True), Address("b:1", leaving=True))
    assert world.asked(0) == {"a:1", "b:1"}
    world.addresses.move(Address("a:1"), Address("b:1", leaving=True))
    assert world.asked(0) == {"a:1"}


async def test_another_pod_at_the_same_address_is_another_replica(world: World) -> None:
    world.at("a:1", 0, 0)
    world.addresses.move(Address("a:1", "first"))
    await eventually(lambda: world.asked(0) == {"a:1"})
    (before,) = world.directory.replicas(0)
    for _ in range(3):
        before.failed()
    world.addresses.move(Address("a:1", "second"))
    await eventually(lambda: world.asked(0) == {"a:1"})
    (after,) = world.directory.replicas(0)
    assert before.ejected
    assert not after.ejected, "what the one before did is not held against it"
