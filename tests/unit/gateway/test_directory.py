"""Choice of replicas: the same rules whether they come from a list, from the registry or from addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.registry import Peer
from services.common.slots import bitmap
from services.common.tasks import cancel
from services.gateway.address_directory import AddressDirectory
from services.gateway.addresses import Address, StaticAddresses
from services.gateway.directory import (
    Needs,
    RegistryDirectory,
    Replica,
    ShardDirectory,
    StaticDirectory,
)
from services.gateway.ejection import EJECT_AFTER_FAILURES
from tests.support.waiting import eventually


class Client:
    def __init__(self, target: str) -> None:
        self.target = target
        self.closed = False

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        raise AssertionError("choosing asks nobody")

    async def search_many(
        self, requests: Sequence[pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[pb.SearchShardResponse]:
        raise AssertionError("choosing asks nobody")

    async def state(self, *, timeout: float) -> pb.GetShardResponse | None:
        raise AssertionError("choosing asks nobody")

    async def close(self) -> None:
        self.closed = True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Registry:
    """Peers that come and go."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = list(peers)
        self.error: Exception | None = None

    async def read(self) -> Sequence[Peer]:
        if self.error is not None:
            raise self.error
        return self.peers


Make = Callable[..., Awaitable[ShardDirectory]]


async def from_list(*counts: int, clock: Clock | None = None) -> ShardDirectory:
    rows = [[Client(f"s{shard}r{number}") for number in range(count)] for shard, count in enumerate(counts)]
    return StaticDirectory(rows, clock=clock or Clock())


async def from_registry(*counts: int, clock: Clock | None = None) -> ShardDirectory:
    registry = Registry(*(Peer(s, r, f"s{s}r{r}") for s, count in enumerate(counts) for r in range(count)))
    directory = RegistryDirectory(registry.read, connect=Client, linger_seconds=3, clock=clock or Clock())
    await directory.refresh()
    return directory


class Telling(Client):
    """One that says which replica it is, as its target is called."""

    async def state(self, *, timeout: float) -> pb.GetShardResponse | None:
        shard, replica = self.target.removeprefix("s").split("r")
        return pb.GetShardResponse(shard=int(shard), replica=int(replica))


async def from_addresses(*counts: int, clock: Clock | None = None) -> ShardDirectory:
    targets = [Address(f"s{s}r{r}") for s, count in enumerate(counts) for r in range(count)]
    directory = AddressDirectory(StaticAddresses(targets), connect=Telling, linger_seconds=3, clock=clock or Clock())
    looking = asyncio.create_task(directory.run(every_seconds=60))
    await eventually(lambda: len(directory.all_replicas()) == len(targets))
    await cancel([looking])
    for replica in directory.all_replicas():
        replica.ready = None  # the tests begin before any look
    return directory


@pytest.fixture(params=[from_list, from_registry, from_addresses])
def make(request: pytest.FixtureRequest) -> Make:
    given: Make = request.param
    return given


def eject(replica: Replica) -> None:
    for _ in range(EJECT_AFTER_FAILURES):
        replica.failed()


def state(
    shard: int = 0, *, ready: bool = True, lag: int = 0, applied: int = 0, slots: bytes = b""
) -> pb.GetShardResponse:
    return pb.GetShardResponse(shard=shard, ready=ready, lag=lag, applied_sequence=applied, slots=slots)


async def test_equals_take_turns(make: Make) -> None:
    shards = await make(3)
    assert {shards.pick(0) for _ in range(3)} == set(shards.replicas(0))


async def test_one_taste_is_always_for_the_same_of_equals(make: Make) -> None:
    shards = await make(3)
    chosen = [{shards.pick(0, needs=Needs(taste=taste)) for _ in range(5)} for taste in range(3)]
    assert [len(of_taste) for of_taste in chosen] == [1, 1, 1]
    assert set.union(*chosen) == set(shards.replicas(0))


async def test_the_least_busy_is_taken(make: Make) -> None:
    shards = await make(3)
    first, second, third = shards.replicas(0)
    first.outstanding, second.outstanding, third.outstanding = 3, 1, 2
    assert [shards.pick(0) for _ in range(4)] == [second] * 4


async def test_one_that_is_not_ready_is_never_asked(make: Make) -> None:
    shards = await make(2, 1)
    first, second = shards.replicas(0)
    first.ready, second.ready = False, True
    assert {shards.pick(0) for _ in range(4)} == {second}
    second.ready = False
    shards.replicas(1)[0].ready = False
    assert shards.pick(0) is None
    assert shards.pick(1) is None


async def test_a_shard_that_nobody_serves_has_no_replica(make: Make) -> None:
    shards = await make(1)
    assert shards.pick(7) is None
    assert not shards.replicas(7)


async def test_before_the_first_look_everyone_may_be_asked_but_those_who_answered_come_first(make: Make) -> None:
    shards = await make(2, 1)
    assert shards.pick(1) is not None
    assert shards.pick(0) is not None
    known = shards.replicas(0)[1]
    known.looked_at(state())
    assert {shards.pick(0) for _ in range(4)} == {known}


async def test_one_that_fails_again_and_again_is_left_alone_for_a_while(make: Make) -> None:
    clock = Clock()
    shards = await make(2, clock=clock)
    bad, good = shards.replicas(0)
    eject(bad)
    assert {shards.pick(0) for _ in range(4)} == {good}
    clock.now += 1.01
    assert {shards.pick(0) for _ in range(4)} == {bad, good}
    bad.failed()  # still bad: now for longer
    clock.now += 1.01
    assert bad.ejected
    bad.answered(pb.SearchShardResponse())
    assert not bad.ejected


async def test_a_few_failures_between_successes_eject_nobody(make: Make) -> None:
    replica = (await make(2)).replicas(0)[0]
    for _ in range(10):
        for _ in range(EJECT_AFTER_FAILURES - 1):
            replica.failed()
        replica.answered(pb.SearchShardResponse())
    assert not replica.ejected


async def test_when_all_are_ejected_one_is_asked_all_the_same(make: Make) -> None:
    shards = await make(2, 1)
    for replica in shards.all_replicas():
        eject(replica)
    assert shards.pick(0) is not None
    assert shards.pick(1) is not None


async def test_one_too_far_behind_is_left_out_while_there_are_others(make: Make) -> None:
    shards = await make(2)
    behind, near = shards.replicas(0)
    behind.looked_at(state(lag=1001))
    near.looked_at(state(lag=1000))
    assert {shards.pick(0) for _ in range(4)} == {near}
    near.ready = False
    assert shards.pick(0) is behind
    near.ready = True
    behind.answered(pb.SearchShardResponse(lag=3))  # it has caught up, and said so with an answer
    assert {shards.pick(0) for _ in range(4)} == {near, behind}


async def test_one_that_has_what_the_search_needs_is_preferred(make: Make) -> None:
    shards = await make(2)
    old, new = shards.replicas(0)
    old.looked_at(state(applied=10, slots=bitmap({1, 2})))
    new.looked_at(state(applied=20, slots=bitmap({2, 3})))
    assert {shards.pick(0, needs=Needs(slots=1 << 1)) for _ in range(4)} == {old}
    assert {shards.pick(0, needs=Needs(slots=1 << 2, min_sequence=15)) for _ in range(4)} == {new}
    # Nobody is sure to have it: then whoever it is has to say so.
    assert {shards.pick(0, needs=Needs(slots=1 << 9, min_sequence=99)) for _ in range(4)} == {old, new}


async def test_whoever_answers_for_another_shard_is_not_ready(make: Make) -> None:
    shards = await make(1)
    replica = shards.replicas(0)[0]
    replica.looked_at(state(shard=1))
    assert shards.pick(0) is None
    replica.looked_at(state())
    assert shards.pick(0) is replica
    replica.looked_at(None)
    assert shards.pick(0) is None


async def test_another_one_means_another_one(make: Make) -> None:
    shards = await make(2, 1)
    first = shards.pick(0)
    assert first is not None
    second = shards.pick(0, without=(first,))
    assert second is not None
    assert second is not first
    assert shards.pick(0, without=(first, second)) is None
    assert shards.pick(1, without=tuple(shards.replicas(1))) is None


# ── the registry ─────────────────────────────────────────────────────────────────────────────────


async def test_peers_come_move_and_go_without_a_search_under_way_noticing() -> None:
    clock = Clock()
    registry = Registry(Peer(0, 0, "a:1"), Peer(0, 1, "b:1"))
    directory = RegistryDirectory(registry.read, connect=Client, linger_seconds=3, clock=clock)
    await directory.refresh()
    staying, going = directory.replicas(0)
    staying.looked_at(state(applied=7))
    moved = going.client
    assert isinstance(moved, Client)

    registry.peers = [Peer(0, 0, "a:1"), Peer(0, 1, "b:2"), Peer(1, 0, "c:1")]
    await directory.refresh()
    assert directory.replicas(0)[0] is staying, "what is known of one that stays is kept"
    assert [replica.client.target for replica in directory.all_replicas()] == ["a:1", "b:2", "c:1"]
    clock.now += 2.9
    await directory.refresh()
    assert not moved.closed, "a search may still be under way on it"
    clock.now += 0.2
    await directory.refresh()
    assert moved.closed

    registry.peers = []
    await directory.refresh()
    assert directory.pick(0) is None
    await directory.close()
    assert isinstance(staying.client, Client)
    assert staying.client.closed


async def test_while_the_registry_cannot_be_read_the_last_peers_stay() -> None:
    registry = Registry(Peer(0, 0, "a:1"))
    directory = RegistryDirectory(registry.read, connect=Client, linger_seconds=3, clock=Clock())
    await directory.refresh()
    registry.error = OSError("away")
    with pytest.raises(OSError, match="away"):
        await directory.refresh()
    assert directory.pick(0) is not None
