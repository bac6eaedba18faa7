"""What an operator can see and ask of the shards: how they are, where slots are to go, and to build them anew."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.common.errors import Aborted, EarmarkError, FailedPrecondition, InvalidArgument, Unavailable
from services.common.ids import SLOTS
from services.common.registry import Peer
from services.common.slot_goal import SlotGoal
from services.common.slots import MovePhase, SlotTable
from services.gateway import rebalance, slot_plan
from services.gateway.peers import ReplicaState, SlotContent, name
from services.gateway.slot_plan import PlannedMove

log = structlog.get_logger()

_ATTEMPTS = 20


class Goals(rebalance.Goals, Protocol):
    """The goal, to be set."""

    async def put(self, goal: SlotGoal, *, instead_of: SlotGoal | None) -> bool:
        """Sets a goal."""
        ...


class Peers(rebalance.Peers, Protocol):
    """The replicas, to be rebuilt."""

    async def rebuild(self, peer: Peer) -> None:
        """Has a replica build its index anew. Raises EarmarkError."""
        ...


class Driver(Protocol):
    """Who drives the moves."""

    @property
    def reasons(self) -> Mapping[int, str]:
        """Why a slot does not get on."""
        ...

    @property
    def waiting(self) -> Mapping[int, str]:
        """Why a shard is not given its slots."""
        ...

    def wake(self) -> None:
        """Says that something has changed."""
        ...


@dataclass(frozen=True, slots=True)
class Overview:
    """How the index is.

    Attributes:
        table: The slot table.
        goal: What is wanted; None when nothing else is.
        replicas: The registered replicas; empty when they were not asked.
        reasons: Why a slot does not get on, by slot.
        waiting: Why a shard is not given its slots, by shard.
        last_sequence: Sequence of the newest event.
    """

    table: SlotTable
    goal: SlotGoal | None
    replicas: Sequence[ReplicaState]
    reasons: Mapping[int, str]
    waiting: Mapping[int, str]
    last_sequence: int

    @property
    def slots_left(self) -> int:
        """Slots that another shard is to answer for."""
        if self.goal is None:
            return sum(move.phase is MovePhase.COPYING for move in self.table.moves)
        return len(slot_plan.moves(self.table.owners, self.goal.owners))


@dataclass(frozen=True, slots=True)
class ShardLoad:
    """What a shard carries; `chunks` is None when that is not known."""

    slots: int
    chunks: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would move.

    Attributes:
        shards: Shards there would be.
        owners: Shard each slot would be at.
        moves: The moves.
        chunks: Chunks in each slot; None when a shard did not say.
        before: What each shard carries now.
        after: What each would carry.
    """

    shards: int
    owners: bytes
    moves: Sequence[PlannedMove]
    chunks: Sequence[int] | None
    before: Mapping[int, ShardLoad]
    after: Mapping[int, ShardLoad]


@dataclass(frozen=True, slots=True)
class Digests:
    """What a replica holds of each slot it owns; `problem` says why there is nothing."""

    peer: Peer
    slots: Mapping[int, SlotContent]
    problem: str = ""


class Shards:
    """The shards, as an operator deals with them.

    Args:
        tables: The slot table.
        goals: What is wanted.
        peers: The replicas.
        stream: The events.
        driver: Who makes the goal come true.
    """

    def __init__(
        self, *, tables: rebalance.Tables, goals: Goals, peers: Peers, stream: rebalance.Stream, driver: Driver
    ) -> None:
        self._tables = tables
        self._goals = goals
        self._peers = peers
        self._stream = stream
        self._driver = driver

    async def overview(self, *, ask_replicas: bool = True) -> Overview:
        """Says how the index is. Raises Unavailable before the first indexer has made the slot table."""
        table, goal = await self._present()
        replicas = await self._peers.look() if ask_replicas else []
        sequence = await self._stream.last_sequence()
        return Overview(table, goal, replicas, dict(self._driver.reasons), dict(self._driver.waiting), sequence)

    async def plan_scale(self, shards: int) -> Plan:
        """Says what would move if there were to be `shards` shards. Raises InvalidArgument."""
        _check_count(shards)
        table, goal = await self._present()
        chunks = await self._chunks(table)
        if goal is not None and goal.even and goal.shards == shards:
            return _plan(table, shards, goal.owners, chunks)  # on its way already; another plan would only delay it
        return _plan(table, shards, slot_plan.balanced(_coming(table), shards, chunks), chunks)

    async def plan_moves(self, targets: Mapping[int, int]) -> Plan:
        """Says what would move if these slots were to go to these shards. Raises InvalidArgument."""
        table, goal = await self._present()
        shards = goal.shards if goal else table.shards
        _check_moves(targets, shards)
        return _plan(table, shards, slot_plan.with_moves(_coming(table), targets), await self._chunks(table))

    async def scale(self, shards: int) -> Plan:
        """Sets the goal of `shards` shards that carry alike, in place of any other. Raises InvalidArgument."""
        plan = await self.plan_scale(shards)

        def goal(table: SlotTable, present: SlotGoal | None) -> SlotGoal:
            if present is not None and present.even and (present.shards, present.owners) == (shards, plan.owners):
                return present
            return SlotGoal.of(shards=shards, owners=plan.owners, present=table.owners, even=True)

        await self._set(goal)
        return plan

    async def move(self, targets: Mapping[int, int]) -> Plan:
        """Sets the goal of some slots; that of the others stays. Raises InvalidArgument."""
        plan = await self.plan_moves(targets)

        def goal(table: SlotTable, present: SlotGoal | None) -> SlotGoal:
            shards = present.shards if present else table.shards
            _check_moves(targets, shards)
            base = present.owners if present else _coming(table)
            return SlotGoal.of(shards=shards, owners=slot_plan.with_moves(base, targets), present=table.owners)

        await self._set(goal)
        return plan

    async def cancel(self) -> int:
        """Calls off what is wanted and what is being copied, and says how many copies that were.

        Slots that have changed over already stay where they are; their old copies go as they would have.
        """
        cleared = False
        for _ in range(_ATTEMPTS):
            goal = await self._goals.load()
            if goal is not None and not await self._goals.clear(goal):
                continue
            cleared = cleared or goal is not None
            table, _ = await self._present()
            copying = [move.slot for move in table.moves if move.phase is MovePhase.COPYING]
            if not cleared and not copying:
                return 0
            # Changed even when nothing is copied: a driver that still has the goal finds another version.
            if await self._tables.finish(table, copying):
                log.info("slot_moves_cancelled", slots=copying, goal=cleared)
                self._driver.wake()
                return len(copying)
        raise _contended()

    async def rebuild(self, shard: int | None = None, replica: int | None = None) -> list[ReplicaState]:
        """Has replicas build their index anew from the documents, and gives them as they were when asked.

        Args:
            shard: Only this shard; None means all.
            replica: Only the replica of this number.

        Raises:
            FailedPrecondition: There is no such replica, or one does not answer; then none is asked.
            EarmarkError: One refused.
        """
        chosen = [
            state
            for state in await self._peers.look()
            if shard in (None, state.peer.shard) and replica in (None, state.peer.replica)
        ]
        if not chosen:
            raise FailedPrecondition("no such replica is registered; GET /shards lists them", reason="NO_SUCH_REPLICA")
        for state in chosen:
            if not state.live:
                raise FailedPrecondition(
                    f"{name(state.peer)} at {state.peer.target} cannot be rebuilt: {state.problem}",
                    reason="REPLICA_UNAVAILABLE",
                )
        await asyncio.gather(*(self._peers.rebuild(state.peer) for state in chosen))
        log.info("rebuild_asked", replicas=[name(state.peer) for state in chosen])
        return chosen

    async def digests(self) -> tuple[int, list[Digests]]:
        """Has every replica count and hash the slots its shard owns, all at one sequence of the stream or later."""
        table, _ = await self._present()
        sequence = await self._stream.last_sequence()
        return sequence, await asyncio.gather(
            *(
                self._digests(state, sorted(table.slots_of(state.peer.shard)), sequence)
                for state in await self._peers.look()
            )
        )

    async def _digests(self, state: ReplicaState, slots: list[int], sequence: int) -> Digests:
        if not state.live:
            return Digests(state.peer, {}, state.problem)
        try:
            content = await self._peers.describe(state.peer, slots, min_sequence=sequence) if slots else {}
        except EarmarkError as error:
            return Digests(state.peer, {}, error.message)
        return Digests(state.peer, content)

    async def _present(self) -> tuple[SlotTable, SlotGoal | None]:
        table = await self._tables.load()
        if table is None:
            raise Unavailable(
                "there is no slot table yet; the first indexer makes it", reason="NO_SLOT_TABLE", retry_after_seconds=1
            )
        return table, await self._goals.load()

    async def _set(self, make: Callable[[SlotTable, SlotGoal | None], SlotGoal]) -> None:
        for _ in range(_ATTEMPTS):
            table, present = await self._present()
            goal = make(table, present)
            if await self._goals.put(goal, instead_of=present):
                log.info("slot_goal_set", shards=goal.shards, slots=goal.slots_total)
                self._driver.wake()
                return
        raise _contended()

    async def _chunks(self, table: SlotTable) -> list[int] | None:
        """Gives the chunks in each slot; None when a shard does not say."""
        live: dict[int, ReplicaState] = {}
        for state in await self._peers.look():
            if table.slots_of(state.peer.shard) <= state.held:
                live.setdefault(state.peer.shard, state)
        if not set(table.serving) <= set(live):
            return None
        try:
            contents = await asyncio.gather(
                *(self._peers.describe(live[shard].peer, sorted(table.slots_of(shard))) for shard in table.serving)
            )
        except EarmarkError as error:
            log.warning("chunks_not_counted", error=error.message)
            return None
        counts = {slot: found.chunk_count for content in contents for slot, found in content.items()}
        return [counts.get(slot, 0) for slot in range(SLOTS)]


def _coming(table: SlotTable) -> bytes:
    """The owners when the moves under way are done."""
    return slot_plan.with_moves(table.owners, {move.slot: move.target for move in table.moves})


def _plan(table: SlotTable, shards: int, wanted: bytes, chunks: Sequence[int] | None) -> Plan:
    return Plan(
        shards=shards,
        owners=wanted,
        moves=slot_plan.moves(table.owners, wanted),
        chunks=chunks,
        before=_loads(table.owners, table.shards, chunks),
        after=_loads(wanted, shards, chunks),
    )


def _loads(owners: bytes, shards: int, chunks: Sequence[int] | None) -> dict[int, ShardLoad]:
    slots = Counter(owners)
    held: dict[int, int] = defaultdict(int)
    for slot, owner in enumerate(owners):
        held[owner] += chunks[slot] if chunks is not None else 0
    return {shard: ShardLoad(slots[shard], held[shard] if chunks is not None else None) for shard in range(shards)}


def _check_count(shards: int) -> None:
    if not 1 <= shards <= SLOTS:
        raise InvalidArgument(f"there can be 1 to {SLOTS} shards, not {shards}", field="shards")


def _check_moves(targets: Mapping[int, int], shards: int) -> None:
    for slot, target in targets.items():
        if not 0 <= slot < SLOTS:
            raise InvalidArgument(f"there is no slot {slot}; they are 0 to {SLOTS - 1}", field="slots")
        if not 0 <= target < shards:
            raise InvalidArgument(f"there is no shard {target}; scale first: there are {shards}", field="to")


def _contended() -> Aborted:
    return Aborted("others change the slot table all the time; try again shortly", reason="SLOT_TABLE_CHANGED")
