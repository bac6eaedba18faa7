"""The rebalancer on a real slot table and real gRPC replicas; it is stepped, so that it can die anywhere."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from services.common import mongo
from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.common.ids import SLOTS
from services.common.registry import IndexerRegistry, Peer
from services.common.settings import CommonSettings
from services.common.slot_goal import SlotGoals
from services.common.slots import MovePhase, SlotTable, SlotTables
from services.gateway.peers import GrpcPeers
from services.gateway.rebalance import VERIFY_AGAIN_SECONDS, VERIFY_ATTEMPTS, Rebalancer
from services.gateway.shards import Shards
from tests.support.slot_peers import SlotReplica, slot_replicas

GRACE = 5.0
IN_FLIGHT = 32


class Stream:
    """Counts events."""

    sequence = 7

    async def last_sequence(self) -> int:
        return self.sequence


@dataclass
class World:
    """A table, replicas, and drivers that come and go."""

    tables: SlotTables
    goals: SlotGoals
    registry: IndexerRegistry
    peers: GrpcPeers
    replicas: list[SlotReplica]
    documents: dict[int, int]
    stream: Stream = field(default_factory=Stream)
    now: float = 1000.0

    def driver(self) -> Rebalancer:
        return Rebalancer(
            tables=self.tables,
            goals=self.goals,
            peers=self.peers,
            stream=self.stream,
            in_flight=IN_FLIGHT,
            grace_seconds=GRACE,
            clock=lambda: self.now,
        )

    def shards(self, driver: Rebalancer) -> Shards:
        return Shards(tables=self.tables, goals=self.goals, peers=self.peers, stream=self.stream, driver=driver)

    async def table(self) -> SlotTable:
        table = await self.tables.load()
        assert table is not None
        return table

    async def obey(self, *shards: int) -> None:
        """The replicas (of some shards only) read the table and do what it says."""
        table = await self.table()
        for replica in self.replicas:
            if not shards or replica.shard in shards:
                replica.obey(table)

    def unanswered(self, owners: bytes) -> list[int]:
        """Slots that a gateway which goes by these owners would not be answered for."""
        return [
            slot
            for slot, owner in enumerate(owners)
            if not all(slot in replica.chunks for replica in self.replicas if replica.shard == owner)
        ]

    async def settle(self, driver: Rebalancer, *, rounds: int = 200) -> None:
        """Drives until nothing is wanted any more, with replicas that obey and time that goes by."""
        for _ in range(rounds):
            while await driver.step():
                pass
            if await self.goals.load() is None and not (await self.table()).moves:
                return
            await self.obey()
            self.now += 1
        raise AssertionError(f"it does not come to an end: {driver.reasons} {driver.waiting}")


@asynccontextmanager
async def world(common: CommonSettings, places: Sequence[tuple[int, int]], *, shards: int = 2) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        database = await mongo.connect(common, stack)
        tables, registry = SlotTables(database), IndexerRegistry(database)
        await tables.load_or_create(shards)
        documents = dict.fromkeys(range(SLOTS), 3)
        replicas = await stack.enter_async_context(slot_replicas(registry, places, documents))
        peers = GrpcPeers(registry)
        stack.push_async_callback(peers.close)
        made = World(tables, SlotGoals(database), registry, peers, replicas, documents)
        await made.obey()
        yield made


@pytest.fixture
async def three(common_settings: CommonSettings) -> AsyncIterator[World]:
    """Two shards and an indexer for a third; the second has two replicas."""
    async with world(common_settings, [(0, 0), (1, 0), (1, 1), (2, 0)]) as made:
        yield made


async def test_scaling_up_moves_a_third_and_ends_with_no_goal(three: World) -> None:
    driver = three.driver()
    plan = await three.shards(driver).scale(3)
    assert len(plan.moves) == 85
    assert plan.chunks is not None
    assert sum(plan.chunks) == sum(three.documents.values())
    await three.settle(driver)
    table = await three.table()
    assert table.shards == 3
    assert sorted(len(table.slots_of(shard)) for shard in range(3)) == [85, 85, 86]
    await three.obey()
    assert [sorted(replica.chunks) for replica in three.replicas] == [
        sorted(table.slots_of(shard)) for shard in (0, 1, 1, 2)
    ]


@pytest.mark.parametrize("shards", [3, 1])
async def test_a_driver_that_dies_after_every_step_is_followed_by_another(three: World, shards: int) -> None:
    await three.shards(three.driver()).scale(shards)
    phases = set()
    waited, known_at = 0, {0: (await three.table()).owners}
    for _ in range(2000):
        acted = await three.driver().step()  # nothing of it is left but what is in MongoDB
        table = await three.table()
        phases |= {move.phase for move in table.moves}
        assert len([move for move in table.moves if move.phase is MovePhase.COPYING]) <= IN_FLIGHT
        assert three.unanswered(table.owners) == []
        if acted:
            continue
        if await three.goals.load() is None and not table.moves:
            break
        await three.obey()
        # A gateway that reads the table late is answered too.
        assert three.unanswered(known_at[waited]) == []
        waited += 1
        known_at[waited] = table.owners
        if {move.phase for move in table.moves} == {MovePhase.DRAINING}:
            # A driver of one step never sees a grace through: this one lives for as long as that.
            patient = three.driver()
            assert not await patient.step()
            three.now += GRACE - 0.1
            assert not await patient.step(), "the grace is not over"
            three.now += 0.2
            assert await patient.step()
    table = await three.table()
    assert (table.shards, table.moves, await three.goals.load()) == (shards, (), None)
    assert phases == {MovePhase.COPYING, MovePhase.DRAINING}
    assert set(table.owners) == set(range(shards))


async def test_two_drivers_at_once_do_no_harm(three: World) -> None:
    drivers = [three.driver(), three.driver()]
    await three.shards(drivers[0]).scale(3)
    for _ in range(300):
        await asyncio.gather(*(driver.step() for driver in drivers))
        table = await three.table()
        assert three.unanswered(table.owners) == []
        if await three.goals.load() is None and not table.moves:
            break
        await three.obey()
        three.now += 1
    table = await three.table()
    assert sorted(len(table.slots_of(shard)) for shard in range(3)) == [85, 85, 86]


async def test_nothing_begins_for_a_shard_that_nobody_serves(common_settings: CommonSettings) -> None:
    async with world(common_settings, [(0, 0), (1, 0)]) as two:
        driver = two.driver()
        shards = two.shards(driver)
        await shards.scale(3)
        assert await driver.step()
        assert (await two.table()).shards == 3, "or nobody would start the new one"
        await two.registry.announce(Peer(2, 0, "127.0.0.1:1"))  # registered, and dead
        assert not await driver.step()
        seen = await shards.overview()
        assert (seen.table.moves, seen.slots_left) == ((), 85)
        assert seen.waiting == {2: "no replica of shard 2 answers; start an indexer for it"}
        assert "does not answer" in next(state.problem for state in seen.replicas if state.peer.shard == 2)
        async with slot_replicas(two.registry, [(2, 0)], two.documents) as (late,):
            two.replicas.append(late)
            late.obey(await two.table())
            await two.settle(driver)
            assert len((await two.table()).slots_of(2)) == 85


async def test_scaling_down_empties_a_shard_before_it_goes(three: World) -> None:
    driver = three.driver()
    await three.shards(driver).scale(1)
    while await driver.step():
        pass
    table = await three.table()
    assert (table.shards, len(table.moves)) == (2, IN_FLIGHT)
    await three.settle(driver)
    assert (await three.table()).shards == 1


async def test_a_slot_waits_for_every_live_replica_of_its_target(three: World) -> None:
    driver = three.driver()
    await three.shards(driver).move({0: 1})
    assert await driver.step()
    table = await three.table()
    three.replicas[1].obey(table)
    assert not await driver.step()
    assert driver.reasons == {0: "s1r1 still copies it"}
    three.replicas[2].error = Unavailable("gone")  # what does not live is not waited for
    assert await driver.step()
    table = await three.table()
    assert table.owners[0] == 1
    assert driver.reasons == {}


async def test_a_copy_of_before_the_move_does_not_count(three: World) -> None:
    driver = three.driver()
    late = three.replicas[3]
    late.chunks[0] = three.documents[0]  # left from an earlier move, and about to be dropped
    late.table_version = (await three.table()).version
    await three.shards(driver).scale(3)
    await driver.step()
    await three.shards(driver).move({0: 2})
    while await driver.step():
        pass
    table = await three.table()
    assert table.owners[0] == 0
    assert driver.reasons[0] == "s2r0 still copies it"


async def test_a_wrong_copy_is_not_handed_over_and_it_is_said(three: World) -> None:
    three.replicas[2].broken = {1}
    driver = three.driver()
    await three.shards(driver).move({0: 1, 1: 1})
    await driver.step()
    await three.obey()
    before = three.replicas[2].described
    assert await driver.step(), "the sound one goes"
    assert three.replicas[2].described == before + VERIFY_ATTEMPTS
    table = await three.table()
    assert (table.owners[0], table.owners[1]) == (1, 0)
    await three.obey()
    asked = three.replicas[2].described
    assert not await driver.step()
    assert driver.reasons == {1: "s1r1 holds 4 chunks of it, s0r0 3, at event 7"}
    assert three.replicas[2].described == asked, "hashing is not free: it is not asked at every look"
    three.replicas[2].broken = set()
    await three.obey()
    three.now += VERIFY_AGAIN_SECONDS
    await three.settle(driver)
    assert (await three.table()).owners[1] == 1


async def test_events_that_come_in_between_do_not_hold_a_slot_back(three: World) -> None:
    driver = three.driver()
    await three.shards(driver).move({0: 1})
    await driver.step()
    await three.obey()
    three.replicas[0].chunks[0] = 4
    for target in three.replicas[1:3]:  # they have the event once they were asked for the first time
        target.after_describing = partial(target.chunks.update, {0: 4})
    described = [replica.described for replica in three.replicas[1:3]]
    assert await driver.step()
    assert (await three.table()).owners[0] == 1
    assert [replica.described for replica in three.replicas[1:3]] == [before + 2 for before in described]


async def test_the_old_copy_stays_while_nobody_answers_in_its_place(three: World) -> None:
    driver = three.driver()
    await three.shards(driver).move({200: 0})
    await driver.step()
    await three.obey()
    assert await driver.step()
    assert (await three.table()).owners[200] == 0
    await driver.step()
    three.now += GRACE + 1
    three.replicas[0].error = Unavailable("gone")
    assert not await driver.step()
    assert "shard 1 keeps its copy" in driver.reasons[200]
    three.replicas[0].error = None
    await three.settle(driver)


async def test_cancel_calls_off_what_is_copied_and_lets_the_rest_finish(three: World) -> None:
    driver = three.driver()
    shards = three.shards(driver)
    await shards.move({0: 1, 1: 1})
    await driver.step()
    three.replicas[1].broken = three.replicas[2].broken = {1}
    await three.obey()
    await driver.step()
    assert await shards.cancel() == 1
    table = await three.table()
    assert [(move.slot, move.phase) for move in table.moves] == [(0, MovePhase.DRAINING)]
    assert await three.goals.load() is None
    await three.settle(driver)
    assert ((await three.table()).owners[0], (await three.table()).owners[1]) == (1, 0)


async def test_a_driver_with_the_goal_of_before_a_cancel_begins_nothing(three: World) -> None:
    driver = three.driver()
    shards = three.shards(driver)
    await shards.move({0: 1})
    stale = await three.table()
    await shards.cancel()
    assert not await three.tables.begin(stale, {0: 1})


async def test_a_new_goal_calls_off_copies_to_elsewhere(three: World) -> None:
    driver = three.driver()
    shards = three.shards(driver)
    await shards.scale(3)
    await driver.step()
    await driver.step()
    assert len((await three.table()).moves) == IN_FLIGHT
    await shards.scale(2)
    await three.settle(driver)
    table = await three.table()
    assert (table.shards, table.owners) == (2, bytes(slot * 2 // SLOTS for slot in range(SLOTS)))


async def test_what_cannot_be_is_refused(three: World) -> None:
    shards = three.shards(three.driver())
    for wrong in (0, 257):
        with pytest.raises(InvalidArgument):
            await shards.scale(wrong)
    for targets in ({256: 0}, {0: 2}, {-1: 0}):
        with pytest.raises(InvalidArgument):
            await shards.move(targets)
    with pytest.raises(FailedPrecondition):
        await shards.rebuild(9)
    three.replicas[1].error = Unavailable("gone")
    with pytest.raises(FailedPrecondition, match="s1r0"):
        await shards.rebuild()
    assert [replica.rebuilds for replica in three.replicas] == [0, 0, 0, 0]


async def test_a_plan_without_all_counts_goes_by_slots(three: World) -> None:
    three.replicas[0].error = Unavailable("gone")
    plan = await three.shards(three.driver()).plan_scale(4)
    assert plan.chunks is None
    assert len(plan.moves) == 128
    assert await three.goals.load() is None
