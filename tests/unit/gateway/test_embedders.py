"""The choice among embedders, and what happens when one fails."""

import asyncio
from collections.abc import Sequence

import pytest

from services.common.errors import EarmarkError, InvalidArgument, Overloaded, Unavailable
from services.common.tasks import cancel
from services.gateway.addresses import Address, Known
from services.gateway.ejection import EJECT_AFTER_FAILURES
from services.gateway.embedders import Embedders
from services.gateway.search import QueryVector
from tests.support.waiting import eventually

VECTOR = QueryVector(b"", "model")


class Moving(Known):
    """Addresses that a test moves."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def move(self, addresses: Sequence[Address]) -> None:
        self._set(addresses)


class Client:
    def __init__(self, target: str) -> None:
        self.target = target
        self.calls = 0
        self.serves = True
        self.error: EarmarkError | None = None
        self.hold: asyncio.Event | None = None
        self.closed = False

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        self.calls += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return VECTOR

    async def ready(self, *, timeout: float) -> bool:
        return self.serves

    async def close(self) -> None:
        self.closed = True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """Embedders at `targets`."""

    def __init__(self, *targets: str) -> None:
        self.clients: dict[str, Client] = {}
        self.clock = Clock()
        self.addresses = Moving([Address(target) for target in targets])
        self.embedders = Embedders(
            self.addresses, connect=self.connect, target="embedders", linger_seconds=3, clock=self.clock
        )

    def connect(self, target: str) -> Client:
        self.clients[target] = Client(target)
        return self.clients[target]

    async def embed(self, times: int = 1) -> None:
        for _ in range(times):
            await self.embedders.embed_query("bread", timeout=5)

    @property
    def calls(self) -> list[int]:
        return [client.calls for client in self.clients.values()]


async def test_equals_take_turns() -> None:
    world = World("a:1", "b:1", "c:1")
    await world.embed(9)
    assert world.calls == [3, 3, 3]


async def test_the_one_with_the_least_to_do_is_asked() -> None:
    world = World("a:1", "b:1")
    slow = world.clients["a:1"]
    slow.hold = asyncio.Event()
    waiting = asyncio.create_task(world.embed(2))
    await eventually(lambda: slow.calls)
    await world.embed(5)
    assert slow.calls == 1
    slow.hold.set()
    await waiting


async def test_when_one_is_away_another_answers_and_soon_nobody_asks_it() -> None:
    world = World("a:1", "b:1")
    world.clients["a:1"].error = Unavailable("away")
    await world.embed(20)
    assert world.clients["a:1"].calls == EJECT_AFTER_FAILURES
    world.clients["a:1"].error = None
    world.clock.now += 1.01
    await world.embed(4)
    assert world.clients["a:1"].calls > EJECT_AFTER_FAILURES, "it gets another chance"


async def test_an_overloaded_one_is_spared_but_not_ejected() -> None:
    world = World("a:1", "b:1")
    world.clients["a:1"].error = Overloaded("full")
    await world.embed(20)
    assert world.clients["a:1"].calls > EJECT_AFTER_FAILURES


async def test_a_wrong_request_is_asked_once() -> None:
    world = World("a:1", "b:1")
    for client in world.clients.values():
        client.error = InvalidArgument("no")
    with pytest.raises(InvalidArgument):
        await world.embed()
    assert sum(world.calls) == 1


async def test_the_only_one_is_asked_again_after_a_moment() -> None:
    world = World("a:1")
    client = world.clients["a:1"]
    client.error = Unavailable("starting anew")
    task = asyncio.create_task(world.embed())
    await eventually(lambda: client.calls == 2)
    client.error = None
    await task
    client.error = Unavailable("gone")
    with pytest.raises(Unavailable, match="gone"):
        await world.embed()


async def test_nobody_known_is_said() -> None:
    with pytest.raises(Unavailable, match="no embedder is known at embedders"):
        await World().embed()


async def test_one_that_is_not_ready_or_leaves_is_asked_only_when_nobody_else_is_there() -> None:
    world = World("a:1", "b:1")
    world.clients["a:1"].serves = False
    looking = asyncio.create_task(world.embedders.run(every_seconds=0.001))
    try:
        await eventually(lambda: [one.ready for one in world.embedders._endpoints.values()] == [False, True])
        await world.embed(4)
        assert world.calls == [0, 4]
        world.clients["a:1"].serves = True
        await eventually(lambda: all(one.ready for one in world.embedders._endpoints.values()))
        world.addresses.move([Address("a:1"), Address("b:1", leaving=True)])
        await world.embed(4)
        assert world.calls == [4, 4]
        world.addresses.move([Address("b:1", leaving=True)])
        await world.embed()
        assert world.calls == [4, 5]
    finally:
        await cancel([looking])


async def test_who_has_gone_is_asked_no_more_and_closed_later() -> None:
    world = World("a:1")
    looking = asyncio.create_task(world.embedders.run(every_seconds=0.001))
    try:
        gone = world.clients["a:1"]
        world.addresses.move([Address("b:1"), Address("c:1")])
        await world.embed(4)
        assert (gone.calls, world.clients["b:1"].calls, world.clients["c:1"].calls) == (0, 2, 2)
        assert not gone.closed, "a call may still be under way on it"
        world.clock.now += 3.1
        await eventually(lambda: gone.closed)
        assert await world.embedders.ready(timeout=1)
        for client in world.clients.values():
            client.serves = False
        assert not await world.embedders.ready(timeout=1)
    finally:
        await cancel([looking])
    await world.embedders.close()
    assert all(client.closed for client in world.clients.values())


async def test_another_process_at_the_same_address_is_another_embedder() -> None:
    world = World("a:1")
    before = world.clients["a:1"]
    world.addresses.move([Address("a:1", owner="another")])
    await world.embed()
    assert (before.calls, world.clients["a:1"].calls) == (0, 1)
