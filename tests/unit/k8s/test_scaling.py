"""The number of shards changes in steps that can be broken off anywhere: a world in memory, with every interruption."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from earmark.client.errors import ConnectionFailed
from earmark.client.index import IndexDigests, IndexStatus, MovePlan
from earmark.k8s import places as numbering
from earmark.k8s.cluster import Conflict, Indexers, Numbering
from earmark.k8s.places import Place
from earmark.k8s.rollout import Pod, Workload
from earmark.k8s.scaling import SLOTS, Refused, ShardScaling, Step


class Killed(BaseException):
    """The command is ended here."""


@dataclass
class Running:
    """A pod."""

    ordinal: int
    uid: int
    place: Place
    age: int = 0

    @property
    def ready(self) -> bool:
        return self.age >= 2


@dataclass
class World:
    """A cluster with an index: pods that take a moment to start, and slots that take one to move."""

    shards: int
    pods_wanted: int
    written: Numbering = field(default_factory=lambda: Numbering((), None, ""))
    broken: set[int] = field(default_factory=set)
    reads_places: bool = True
    away: int = 0
    sequence: int = 5
    stale_starts: int = 0
    _running: dict[int, Running] = field(default_factory=dict)
    _uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    mutations: int = 0
    kill_at: int | None = None
    kill_before: bool = False

    def __post_init__(self) -> None:
        self.first_shards = self.shards
        self.owners = [slot * self.shards // SLOTS for slot in range(SLOTS)]
        self.table_shards = self.shards
        self.goal: int | None = None
        for _ in range(3):
            self.tick()
        self.least = self._replicas()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def tick(self, _: float = 0.0) -> None:
        """Lets a moment pass, and looks whether what must hold does."""
        for ordinal in range(self.pods_wanted):
            if ordinal not in self._running:
                self._running[ordinal] = Running(ordinal, next(self._uids), self._place(ordinal))
        for ordinal in [one for one in self._running if one >= self.pods_wanted]:
            del self._running[ordinal]
        for pod in self._running.values():
            pod.age += 1
        if self.goal is not None and self._moveable(self.goal):
            ahead = [slot for slot in range(SLOTS) if self.owners[slot] != self._wanted(slot)]
            for slot in ahead[:100]:
                self.owners[slot] = self._wanted(slot)
            if not ahead:
                self.table_shards, self.goal = self.goal, None
        self.check()

    def check(self) -> None:
        """No two pods are the same replica, and each shard with slots has as many that are ready as it had."""
        places = [pod.place for pod in self._running.values()]
        assert len(set(places)) == len(places), f"two pods have one place: {places}"
        if hasattr(self, "least"):
            for shard in set(self.owners):
                ready = sum(pod.place.shard == shard and pod.ready for pod in self._running.values())
                assert ready >= self.least, f"shard {shard} has {ready} replicas"

    def _place(self, ordinal: int) -> Place:
        if self.stale_starts and ordinal in self._stale:
            self.stale_starts -= 1
            return self._stale[ordinal]
        places = self.written.places or numbering.by_number(self.pods_wanted, self.first_shards)
        return numbering.extended(places, ordinal + 1)[ordinal]

    def _wanted(self, slot: int) -> int:
        assert self.goal is not None
        return slot * self.goal // SLOTS

    def _moveable(self, shards: int) -> bool:
        ready = {pod.place.shard for pod in self._running.values() if pod.ready}
        return set(range(shards)) <= ready

    def _replicas(self) -> int:
        return min(
            sum(pod.place.shard == shard and pod.ready for pod in self._running.values()) for shard in set(self.owners)
        )

    def _change(self) -> None:
        """Something is about to be changed; here the command may be killed."""
        self.mutations += 1
        if self.kill_at == self.mutations and self.kill_before:
            raise Killed

    def _changed(self) -> None:
        if self.kill_at == self.mutations and not self.kill_before:
            raise Killed

    # ── the cluster ──────────────────────────────────────────────────────────────────────────────

    def indexers(self) -> Indexers:
        ready = sum(pod.ready for pod in self._running.values())
        present = len(self._running)
        workload = Workload(
            "StatefulSet", "indexer", self.pods_wanted, present, ready, present, ("earmark-indexer:1",), "", True
        )
        return Indexers(workload, self.first_shards, self.reads_places)

    def pods(self) -> list[Pod]:
        return [
            Pod(f"indexer-{pod.ordinal}", str(pod.uid), pod.ordinal, "node", pod.ready, False, "ready", 0)
            for pod in self._running.values()
        ]

    def delete_pod(self, name: str) -> None:
        self._change()
        ordinal = int(name.rpartition("-")[2])
        shards = set(self.owners)
        assert self._running[ordinal].place.shard not in shards, "a pod that serves is not ended"
        self._stale = {ordinal: self._running[ordinal].place}
        del self._running[ordinal]
        self._changed()

    def scale_indexers(self, pods: int) -> None:
        self._change()
        for ordinal in range(pods, self.pods_wanted):
            going = self._running[ordinal].place.shard
            rest = [pod for pod in self._running.values() if pod.ordinal < pods and pod.ready]
            assert going not in self.owners or sum(pod.place.shard == going for pod in rest) >= self.least
        self.pods_wanted = pods
        self._changed()

    def numbering(self) -> Numbering:
        return self.written

    def write_numbering(self, before: Numbering, places: Sequence[Place], state: Any) -> Numbering:
        self._change()
        if before.version != self.written.version:
            raise Conflict("changed")
        self.written = Numbering(tuple(places), dict(state) if state is not None else None, str(next(self._versions)))
        self._changed()
        return self.written

    # ── the index ────────────────────────────────────────────────────────────────────────────────

    def status(self) -> IndexStatus:
        if self.away:
            self.away -= 1
            raise ConnectionFailed("nobody answers")
        table = self.table_shards if self.goal is None else max(self.table_shards, self.goal)
        shards = sorted({*range(table), *(pod.place.shard for pod in self._running.values())})
        return IndexStatus.parse(
            {
                "version": 1,
                "shards_total": table,
                "stream_sequence": self.sequence,
                "moves": [],
                "goal": {"shards": self.goal, "slots_total": 9, "slots_left": 9, "waiting": []} if self.goal else None,
                "shards": [
                    {
                        "shard": shard,
                        "slots": [slot for slot in range(SLOTS) if self.owners[slot] == shard],
                        "replicas": [
                            {
                                "replica": pod.place.replica,
                                "answers": True,
                                "ready": pod.ready,
                                "slots_held": self.owners.count(shard) if pod.ready else 0,
                            }
                            for pod in self._running.values()
                            if pod.place.shard == shard and pod.ordinal not in self.broken
                        ],
                    }
                    for shard in shards
                ],
            }
        )

    def plan(self, *, shards: int | None = None) -> MovePlan:
        assert shards is not None
        moving = sum(owner != slot * shards // SLOTS for slot, owner in enumerate(self.owners))
        loads = [{"shard": 0, "slots": SLOTS, "chunks": 2 * SLOTS}]
        return MovePlan.parse({"shards": shards, "slots": moving, "chunks": None, "before": loads, "after": loads})

    def scale(self, shards: int) -> MovePlan:
        self._change()
        plan = self.plan(shards=shards)
        self.goal = shards
        self._changed()
        return plan

    def digests(self) -> IndexDigests:
        return IndexDigests.parse(
            {
                "stream_sequence": self.sequence,
                "replicas": [
                    {
                        "shard": pod.place.shard,
                        "replica": pod.place.replica,
                        "slots": [
                            {"slot": slot, "chunk_count": 2, "digest": f"{slot}" + "!" * (pod.ordinal in self.bad)}
                            for slot in range(SLOTS)
                            if self.owners[slot] == pod.place.shard
                        ],
                    }
                    for pod in self._running.values()
                ],
            }
        )

    bad: frozenset[int] = frozenset()
    _stale: dict[int, Place] = field(default_factory=dict)


def scaling(world: World, said: list[str] | None = None, *, patience: float = 50.0) -> ShardScaling:
    lines = said if said is not None else []
    clock = itertools.count()
    return ShardScaling(
        world,
        world,
        say=lambda line, _: lines.append(line),
        wait=world.tick,
        patience_seconds=patience,
        clock=lambda: float(next(clock)),
    )


def assert_done(world: World, shards: int, replicas: int) -> None:
    assert set(world.owners) == set(range(shards))
    assert world.pods_wanted == shards * replicas
    assert world.written.state is None
    assert len(world.written.places) == world.pods_wanted
    for _ in range(3):
        world.tick()
    assert [pod.place for _, pod in sorted(world._running.items())] == list(world.written.places)


CHANGES = [(2, 3, 1), (2, 3, 2), (3, 2, 2), (4, 1, 3), (1, 4, 2), (3, 5, 1)]


@pytest.mark.parametrize(("before", "after", "replicas"), CHANGES)
def test_from_so_many_shards_to_so_many(before: int, after: int, replicas: int) -> None:
    world, said = World(before, before * replicas), []
    scaling(world, said).run(after)
    assert_done(world, after, replicas)
    steps = [line.partition(":")[0] for line in said]
    assert steps == sorted(steps, key=[*Step].index), "one step after the other"


@pytest.mark.parametrize("kill_before", [True, False])
@pytest.mark.parametrize(("before", "after", "replicas"), [(2, 3, 2), (3, 2, 2), (4, 1, 2)])
def test_whatever_it_is_broken_off_at_it_goes_on_from_there(
    before: int, after: int, replicas: int, kill_before: bool
) -> None:
    whole = World(before, before * replicas)
    scaling(whole).run(after)
    assert whole.mutations >= 7
    for kill_at in range(1, whole.mutations + 1):
        world = World(before, before * replicas, kill_at=kill_at, kill_before=kill_before)
        with pytest.raises(Killed):
            scaling(world).run(after)
        for _ in range(kill_at % 4):
            world.tick()
        scaling(world).run(after)
        assert_done(world, after, replicas)


def test_there_and_back_again_and_further() -> None:
    world = World(2, 4)
    for shards in (3, 2, 5, 1, 4):
        scaling(world).run(shards)
        assert_done(world, shards, 2)


def test_a_plan_changes_nothing_and_says_all() -> None:
    world = World(3, 6)
    plan = scaling(world).plan(2)
    assert world.mutations == 0
    assert plan.as_json() == {
        "shards_before": 3,
        "shards": 2,
        "replicas": 2,
        "pods_before": 6,
        "pods_most": 6,
        "pods": 4,
        "new_pods": {},
        "slots": plan.slots,
        "chunks": None,
        "reassigned": {"indexer-2": "s1r2"},
        "places": "s0r0,s1r0,s1r2,s0r1",
        "resumes_at": None,
    }
    grown = scaling(World(2, 4)).plan(3).as_json()
    assert (grown["new_pods"], grown["pods"]) == ({"indexer-4": "s2r0", "indexer-5": "s2r1"}, 6)


def test_nothing_to_do_is_nothing_done() -> None:
    world = World(2, 4)
    assert scaling(world).run(2).idle
    assert world.mutations == 0


def test_a_pod_that_starts_with_its_old_place_is_ended_again() -> None:
    world = World(3, 6)
    world.stale_starts = 2
    scaling(world).run(2)
    assert_done(world, 2, 2)


def test_a_gateway_that_is_away_for_a_moment_is_waited_for() -> None:
    world = World(2, 2)
    runs = scaling(world)
    tick, away = world.tick, [2]

    def wait(seconds: float) -> None:
        tick(seconds)
        world.away, away[0] = (away[0], 0) if world.mutations == 3 else (0, away[0])

    runs._wait = wait
    runs.run(3)
    assert_done(world, 3, 1)


def test_another_number_waits_for_the_first() -> None:
    world = World(2, 4, kill_at=4)
    with pytest.raises(Killed):
        scaling(world).run(3)
    with pytest.raises(Refused, match="change to 3 shards is under way"):
        scaling(world).run(4)


def test_copies_that_differ_end_it_before_anything_is_taken_away() -> None:
    world = World(3, 6)
    world.bad = frozenset({4})
    with pytest.raises(Refused, match="is not the same at s1r0 and s1r1"):
        scaling(world).run(2)
    assert world.pods_wanted == 6
    world.bad = frozenset()
    scaling(world).run(2)
    assert_done(world, 2, 2)


def test_chunks_that_are_lost_are_missed() -> None:
    world = World(2, 2)
    plan = world.plan
    loads = [{"shard": 0, "slots": SLOTS, "chunks": 999}]

    def counted(*, shards: int | None = None) -> MovePlan:
        return MovePlan.parse({**vars_of(plan(shards=shards)), "before": loads, "after": loads})

    world.plan = counted  # type: ignore[method-assign]
    with pytest.raises(Refused, match="there were 999 chunks at the beginning, and are 512"):
        scaling(world).run(3)


def vars_of(plan: MovePlan) -> dict[str, Any]:
    return {"shards": plan.shards, "slots": plan.slots, "chunks": plan.chunks}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda world: setattr(world, "reads_places", False), "Apply the manifests of this version"),
        (lambda world: setattr(world, "goal", 3), "on the move already"),
        (lambda world: world.broken.add(1), "nobody says of itself to be s1r0"),
        (lambda world: setattr(world, "pods_wanted", 6), "Begin when all are"),
    ],
)
def test_it_begins_only_when_all_is_well(change: Any, told: str) -> None:
    world = World(2, 4)
    change(world)
    with pytest.raises(Refused, match=told):
        scaling(world).run(3)
    assert world.mutations == 0


def test_what_does_not_get_on_is_given_up_with_the_reason() -> None:
    world = World(2, 2)
    world.broken = {2}
    with pytest.raises(Refused, match=r"step grow: s2r0 does not answer.*run it again"):
        scaling(world).run(3)
    world.broken = set()
    scaling(world).run(3)
    assert_done(world, 3, 1)
