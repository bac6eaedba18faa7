"""Choice of replicas."""

from __future__ import annotations

from earmark.internal.v1 import shard_service_pb2 as pb
from services.gateway.directory import EJECT_AFTER_FAILURES, Replica, StaticDirectory


class Client:
    def __init__(self, target: str) -> None:
        self.target = target

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        raise NotImplementedError

    async def ready(self, *, timeout: float) -> bool:
        raise NotImplementedError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def directory(*counts: int, clock: Clock | None = None) -> StaticDirectory:
    rows = [[Client(f"s{shard}r{number}") for number in range(count)] for shard, count in enumerate(counts)]
    return StaticDirectory(rows, clock=clock or Clock())


def eject(replica: Replica) -> None:
    for _ in range(EJECT_AFTER_FAILURES):
        replica.failed()


def test_equals_take_turns() -> None:
    shards = directory(3)
    assert {shards.pick(0) for _ in range(3)} == set(shards.replicas(0))


def test_the_least_busy_is_taken() -> None:
    shards = directory(3)
    first, second, third = shards.replicas(0)
    first.outstanding, second.outstanding, third.outstanding = 3, 1, 2
    assert [shards.pick(0) for _ in range(4)] == [second] * 4


def test_one_that_is_not_ready_is_never_asked() -> None:
    shards = directory(2, 1)
    first, second = shards.replicas(0)
    first.ready, second.ready = False, True
    assert {shards.pick(0) for _ in range(4)} == {second}
    second.ready = False
    shards.replicas(1)[0].ready = False
    assert shards.pick(0) is None
    assert shards.pick(1) is None


def test_before_the_first_health_check_everyone_may_be_asked() -> None:
    assert directory(1).pick(0) is not None


def test_one_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    clock = Clock()
    shards = directory(2, clock=clock)
    bad, good = shards.replicas(0)
    eject(bad)
    assert {shards.pick(0) for _ in range(4)} == {good}
    clock.now += 1.01
    assert {shards.pick(0) for _ in range(4)} == {bad, good}
    bad.failed()  # still bad: now for longer
    clock.now += 1.01
    assert bad.ejected
    bad.succeeded()
    assert not bad.ejected


def test_a_few_failures_between_successes_eject_nobody() -> None:
    replica = directory(2).replicas(0)[0]
    for _ in range(10):
        for _ in range(EJECT_AFTER_FAILURES - 1):
            replica.failed()
        replica.succeeded()
    assert not replica.ejected


def test_when_all_are_ejected_one_is_asked_all_the_same() -> None:
    shards = directory(2, 1)
    for replica in shards.all_replicas():
        eject(replica)
    assert shards.pick(0) is not None
    assert shards.pick(1) is not None


def test_another_one_means_another_one() -> None:
    shards = directory(2, 1)
    first = shards.pick(0)
    assert first is not None
    second = shards.pick(0, without=(first,))
    assert second is not None
    assert second is not first
    assert shards.pick(0, without=(first, second)) is None
    assert shards.pick(1, without=tuple(shards.replicas(1))) is None
