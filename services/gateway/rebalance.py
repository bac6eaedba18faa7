"""Drives the moves of slots between shards: from what is wanted, over the slot table, to what is.

    wanted ──▶ begin ──▶ copying ──▶ every live replica of the target holds it ──▶ same count and digest ──▶ switch
                            │                                                                                   │
                            └──▶ called off (cancelled, or wanted elsewhere)      finish ◀── grace ◀── draining ◀┘

Everything that has to last is in MongoDB: the goal and the slot table. A driver that dies is followed by any other, and
any number may drive at once, since each transition holds only for the version of the table that was looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge

from services.common.errors import EarmarkError
from services.common.registry import Peer
from services.common.slot_goal import SlotGoal
from services.common.slots import Move, MovePhase, SlotTable
from services.gateway.faults import known
from services.gateway.peers import ReplicaState, SlotContent, name

log = structlog.get_logger()

VERIFY_ATTEMPTS = 3
VERIFY_AGAIN_SECONDS = 5.0
"""Time after which a slot whose copy differed is compared again: hashing it costs its replicas something."""

MOVED = Counter("earmark_gateway_slots_moved_total", "Slots that another shard has come to own.")
MISMATCHES = Counter("earmark_gateway_slot_mismatches_total", "Copies of slots that were not like their source.")
MOVING = Gauge("earmark_gateway_slots_moving", "Slots on the move.")


class Tables(Protocol):
    """The slot table; see `services.common.slots.SlotTables`."""

    async def load(self) -> SlotTable | None:
        """Gives the table."""
        ...

    async def set_shards(self, table: SlotTable, shards: int) -> bool:
        """Says how many shards there are to be."""
        ...

    async def begin(self, table: SlotTable, targets: Mapping[int, int]) -> bool:
        """Begins moves."""
        ...

    async def switch(self, table: SlotTable, slots: Collection[int]) -> bool:
        """Makes the targets the owners."""
        ...

    async def finish(self, table: SlotTable, slots: Collection[int]) -> bool:
        """Ends moves."""
        ...


class Goals(Protocol):
    """The goal; see `services.common.slot_goal.SlotGoals`."""

    async def load(self) -> SlotGoal | None:
        """Gives the goal."""
        ...

    async def clear(self, goal: SlotGoal) -> bool:
        """Takes it out."""
        ...


class Peers(Protocol):
    """The replicas."""

    async def look(self) -> list[ReplicaState]:
        """Asks every registered replica how it is."""
        ...

    async def describe(self, peer: Peer, slots: Sequence[int], *, min_sequence: int = 0) -> dict[int, SlotContent]:
        """Counts and hashes what a replica holds of some slots. Raises EarmarkError."""
        ...


class Stream(Protocol):
    """The events."""

    async def last_sequence(self) -> int:
        """Gives the sequence of the newest event."""
        ...


Replicas = Mapping[int, Sequence[ReplicaState]]
"""The registered replicas of each shard."""


class _Seen(NamedTuple):
    """When this driver first saw a move in its phase, and the version of the table it saw then."""

    move: Move
    at: float
    version: int


class Rebalancer:
    """Looks at the goal, the table and the replicas, and does the next thing that can be done.

    Args:
        tables: The slot table.
        goals: What is wanted.
        peers: The replicas.
        stream: The events, for the state at which copies are compared.
        in_flight: Slots copied at once.
        grace_seconds: Time for which a slot's old owner still answers for it: longer than a gateway takes to read the
            table again and to end the searches it has begun.
        every_seconds: Time between two looks when nothing can be done.
        clock: Gives seconds that only grow.

    Attributes:
        reasons: Why a slot does not get on, by slot, as this driver saw it last.
        waiting: Why a shard is not given its slots, by shard.
    """

    def __init__(
        self,
        *,
        tables: Tables,
        goals: Goals,
        peers: Peers,
        stream: Stream,
        in_flight: int = 16,
        grace_seconds: float = 5.0,
        every_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables = tables
        self._goals = goals
        self._peers = peers
        self._stream = stream
        self._in_flight = in_flight
        self._grace = grace_seconds
        self._every = every_seconds
        self._clock = clock
        self._seen: dict[int, _Seen] = {}
        self._verify_after: dict[int, float] = {}
        self._wake = asyncio.Event()
        self.reasons: dict[int, str] = {}
        self.waiting: dict[int, str] = {}

    def wake(self) -> None:
        """Says that something has changed, so that it looks at once."""
        self._wake.set()

    async def run(self) -> None:
        """Drives for ever. What fails because of a server that is away is tried again at the next look."""
        while True:
            self._wake.clear()
            try:
                if await self.step():
                    continue
            except Exception as error:
                foreseen = known(error)
                if foreseen is None and not isinstance(error, TimeoutError):
                    raise
                log.warning("rebalance_failed", error=repr(error))
            try:
                async with asyncio.timeout(self._every):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Does the next thing that can be done; False when nothing can.

        At most one change to the table: afterwards it has another version, and is looked at again.
        """
        table = await self._tables.load()
        # After the table: whoever cancels takes the goal out first and changes the table then, so that moves begun for
        # a goal that is no more are either refused or called off.
        goal = await self._goals.load()
        MOVING.set(len(table.moves) if table else 0)
        if table is None or (goal is None and not table.moves):
            self._seen, self._verify_after, self.reasons, self.waiting = {}, {}, {}, {}
            return False
        self._notice(table)
        if goal is not None and goal.shards > table.shards:
            await self._set_shards(table, goal)
            return True
        replicas: dict[int, list[ReplicaState]] = defaultdict(list)
        for replica in await self._peers.look():
            replicas[replica.peer.shard].append(replica)
        return (
            await self._call_off(table, goal)
            or await self._finish(table, replicas)
            or await self._begin(table, goal, replicas)
            or await self._switch(table, replicas)
            or await self._complete(table, goal)
        )

    async def _call_off(self, table: SlotTable, goal: SlotGoal | None) -> bool:
        """Ends copies to a shard where the slot is not wanted any more."""
        if goal is None:
            return False
        astray = [
            move.slot
            for move in table.moves
            if move.phase is MovePhase.COPYING and goal.owners[move.slot] != move.target
        ]
        if not astray:
            return False
        if await self._tables.finish(table, astray):
            log.info("slots_called_off", slots=astray)
        return True

    async def _finish(self, table: SlotTable, replicas: Replicas) -> bool:
        """Ends the moves whose grace is over. The old copy stays while nobody could answer in its place."""
        over = []
        for move in table.moves:
            if move.phase is not MovePhase.DRAINING or self._clock() - self._seen[move.slot].at < self._grace:
                continue
            if any(move.slot in replica.held for replica in replicas.get(move.target, ())):
                over.append(move.slot)
            else:
                self.reasons[move.slot] = (
                    f"shard {move.source} keeps its copy: no replica of shard {move.target} answers that holds the slot"
                )
        if not over:
            return False
        if await self._tables.finish(table, over):
            log.info("slots_finished", slots=over)
        return True

    async def _begin(self, table: SlotTable, goal: SlotGoal | None, replicas: Replicas) -> bool:
        """Begins moves that are wanted, as many as there is room for."""
        self.waiting = {}
        if goal is None:
            return False
        moving = {move.slot for move in table.moves}
        room = self._in_flight - sum(move.phase is MovePhase.COPYING for move in table.moves)
        targets: dict[int, int] = {}
        for slot, (owner, wanted) in enumerate(zip(table.owners, goal.owners, strict=True)):
            if owner == wanted or slot in moving:
                continue
            if not _live(replicas, wanted):
                self.waiting[wanted] = f"no replica of shard {wanted} answers; start an indexer for it"
            elif len(targets) < room:
                targets[slot] = wanted
        if not targets:
            return False
        if await self._tables.begin(table, targets):
            log.info("slots_begun", targets=targets)
        return True

    async def _switch(self, table: SlotTable, replicas: Replicas) -> bool:
        """Hands over the slots whose copies are whole and like their source."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for move in table.moves:
            if move.phase is not MovePhase.COPYING or self._clock() < self._verify_after.get(move.slot, 0.0):
                continue
            if (why := self._not_copied(move, replicas)) is None:
                groups[move.source, move.target].append(move.slot)
            else:
                self.reasons[move.slot] = why
        verified = await asyncio.gather(
            *(
                self._verify(slots, _live(replicas, source), _live(replicas, target), source)
                for (source, target), slots in groups.items()
            )
        )
        agreed = sorted(slot for slots in verified for slot in slots)
        if not agreed:
            return False
        if await self._tables.switch(table, agreed):
            log.info("slots_switched", slots=agreed)
            MOVED.inc(len(agreed))
        return True

    async def _complete(self, table: SlotTable, goal: SlotGoal | None) -> bool:
        """Takes the goal out when it is reached, after the shards that are to go."""
        if goal is None or table.moves or table.owners != goal.owners:
            return False
        if table.shards > goal.shards:
            await self._set_shards(table, goal)
        elif await self._goals.clear(goal):
            log.info("slot_goal_reached", shards=goal.shards, slots=goal.slots_total)
        return True

    async def _set_shards(self, table: SlotTable, goal: SlotGoal) -> None:
        if await self._tables.set_shards(table, goal.shards):
            log.info("shards_set", shards=goal.shards, before=table.shards)

    def _notice(self, table: SlotTable) -> None:
        """Remembers since when each move is in its phase, and forgets what is over."""
        now, moving = self._clock(), {move.slot: move for move in table.moves}
        self._seen = {
            slot: seen if (seen := self._seen.get(slot)) and seen.move == move else _Seen(move, now, table.version)
            for slot, move in moving.items()
        }
        self._verify_after = {slot: at for slot, at in self._verify_after.items() if slot in moving}
        self.reasons = {
            slot: reason
            for slot, reason in self.reasons.items()
            if slot in moving and moving[slot].phase is MovePhase.COPYING
        }

    def _not_copied(self, move: Move, replicas: Replicas) -> str | None:
        """Says why a slot is not whole at every live replica of its target yet; None when it is."""
        live = _live(replicas, move.target)
        if not live:
            return f"no replica of shard {move.target} answers"
        # One with an older table may still hold what an earlier move left, and be about to drop it.
        version = self._seen[move.slot].version
        late = [name(one.peer) for one in live if move.slot not in one.held or one.table_version < version]
        return f"{', '.join(late)} still copies it" if late else None

    async def _verify(
        self, slots: Sequence[int], sources: Sequence[ReplicaState], targets: Sequence[ReplicaState], source: int
    ) -> list[int]:
        """Compares copies with their source, and gives the slots that are the same everywhere.

        Events that come in between make a difference that is none, so what differs is compared again at a later state.
        """
        left = list(slots)
        if not sources:
            self._explain(left, f"no replica of shard {source} answers, with which the copy could be compared")
            return []
        for attempt in range(VERIFY_ATTEMPTS):
            model = sources[attempt % len(sources)]
            try:
                sequence = await self._stream.last_sequence()
                contents = await asyncio.gather(
                    *(self._peers.describe(one.peer, left, min_sequence=sequence) for one in (model, *targets))
                )
            except EarmarkError as error:
                self._explain(left, f"the copy could not be compared: {error.message}")
                break
            differing = []
            for slot in left:
                difference = _difference(slot, model, targets, contents)
                if difference:
                    differing.append(slot)
                    self.reasons[slot] = f"{difference}, at event {sequence}"
                else:
                    self.reasons.pop(slot, None)
            left = differing
            if not left:
                break
        else:
            MISMATCHES.inc(len(left))
            self._verify_after |= dict.fromkeys(left, self._clock() + VERIFY_AGAIN_SECONDS)
            log.warning("slots_differ", reasons={slot: self.reasons[slot] for slot in left})
        return sorted(set(slots) - set(left))

    def _explain(self, slots: Iterable[int], reason: str) -> None:
        for slot in slots:
            self.reasons[slot] = reason


def _live(replicas: Replicas, shard: int) -> list[ReplicaState]:
    return [replica for replica in replicas.get(shard, ()) if replica.live]


def _difference(
    slot: int, model: ReplicaState, targets: Sequence[ReplicaState], contents: Sequence[Mapping[int, SlotContent]]
) -> str:
    """Says in what the copies of a slot differ from the source; empty when in nothing."""
    original = contents[0].get(slot)
    for target, content in zip(targets, contents[1:], strict=True):
        copy = content.get(slot)
        if original is None or copy is None:
            return f"{name((model if original is None else target).peer)} does not say what it holds of it"
        if original.chunk_count != copy.chunk_count:
            return (
                f"{name(target.peer)} holds {copy.chunk_count} chunks of it, {name(model.peer)} {original.chunk_count}"
            )
        if original.digest != copy.digest:
            return f"{name(target.peer)} and {name(model.peer)} hold {copy.chunk_count} chunks of it that differ"
    return ""
