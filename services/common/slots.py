"""The slot table: which shard owns which of the 256 slots, and which slots are on their way to another.

In MongoDB, read by everyone. Every change is conditional on the version that was read, so that any number of processes
may drive a move and one that was killed can be followed by another:

    begin ──▶ copying: the source owns the slot, the target fills itself and follows its events
                 │ switch (the copies agree)
                 ▼
              draining: the target owns the slot, the source still holds it for those with the table of before
                 │ finish                                  from `copying`: cancel
                 ▼                                              │
              (no move: the source drops the slot)              ▼ (no move: the target drops it)
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bson.binary import Binary
from pymongo.errors import DuplicateKeyError

from services.common.ids import SLOTS, slot_of
from services.common.mongo import Database

_ID = "slot_table"


class MovePhase(enum.StrEnum):
    """How far a move is; see the picture above."""

    COPYING = "copying"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Move:
    """A slot on its way from one shard to another."""

    slot: int
    source: int
    target: int
    phase: MovePhase


@dataclass(frozen=True, slots=True)
class SlotTable:
    """Which shard owns which slot.

    Attributes:
        version: Grows with every change.
        shards: Shards there are or are to be; some may own nothing.
        owners: `owners[slot]` is the shard that answers for the slot.
        moves: Moves under way, by slot.
    """

    version: int
    shards: int
    owners: bytes
    moves: tuple[Move, ...] = ()

    def shard_of(self, video_id: str) -> int:
        """Gives the shard that answers for a video's chunks."""
        return self.owners[slot_of(video_id)]

    def slots_of(self, shard: int) -> frozenset[int]:
        """Gives the slots a shard answers for."""
        return frozenset(slot for slot, owner in enumerate(self.owners) if owner == shard)

    def held_by(self, shard: int) -> frozenset[int]:
        """Gives the slots a shard has to hold: those it owns, and those coming to it or leaving it."""
        moving = {move.slot for move in self.moves if shard in {move.source, move.target}}
        return self.slots_of(shard) | moving

    @property
    def serving(self) -> list[int]:
        """The shards that answer for at least one slot, in order."""
        return sorted(set(self.owners))


def bitmap(slots: Collection[int]) -> bytes:
    """Gives slots as 32 bytes: slot n is bit n % 8, from the lowest, of byte n / 8."""
    bits = bytearray(SLOTS // 8)
    for slot in slots:
        bits[slot // 8] |= 1 << slot % 8
    return bytes(bits)


def from_bitmap(bits: bytes) -> frozenset[int]:
    """Gives the slots of a `bitmap`. Raises ValueError when it has not 32 bytes."""
    if len(bits) != SLOTS // 8:
        raise ValueError(f"slots come as {SLOTS // 8} bytes, not {len(bits)}")
    return frozenset(slot for slot in range(SLOTS) if bits[slot // 8] >> slot % 8 & 1)


class SlotTables:
    """The slot table in MongoDB, collection `routing`."""

    def __init__(self, database: Database) -> None:
        self._routing = database["routing"]

    async def load(self) -> SlotTable | None:
        """Gives the table; None before the first indexer has made one."""
        doc = await self._routing.find_one({"_id": _ID})
        return _table(doc) if doc else None

    async def load_or_create(self, shards: int) -> SlotTable:
        """Gives the table; the first to ask creates one that spreads the slots evenly over `shards`."""
        table = await self.load()
        if table is not None:
            return table
        owners = bytes(slot * shards // SLOTS for slot in range(SLOTS))
        doc = {
            "_id": _ID,
            "version": 1,
            "shards": shards,
            "owners": Binary(owners),
            "moves": [],
            "begun_with": shards,
        }
        try:
            await self._routing.insert_one(doc)
        except DuplicateKeyError:
            return await self.load_or_create(shards)
        return _table(doc)

    async def begun_with(self) -> int | None:
        """Gives the number of shards the table was made with; None when there is none, or it is older than this."""
        doc = await self._routing.find_one({"_id": _ID}, {"begun_with": True})
        return doc.get("begun_with") if doc else None

    async def set_shards(self, table: SlotTable, shards: int) -> bool:
        """Says how many shards there are to be. False when the table has changed since, or one beyond still has slots.

        Raises:
            ValueError: A shard that would go still has slots, or `shards` is out of 1..256.
        """
        if not 1 <= shards <= SLOTS:
            raise ValueError(f"there can be 1 to {SLOTS} shards")
        busy = {*table.owners, *(shard for move in table.moves for shard in (move.source, move.target))}
        if max(busy) >= shards:
            raise ValueError(f"shard {max(busy)} still has slots")
        return await self._save(replace(table, shards=shards))

    async def begin(self, table: SlotTable, targets: Mapping[int, int]) -> bool:
        """Begins to move slots to other shards, `{slot: shard}`. False when the table has changed since.

        Raises:
            ValueError: A slot moves already, or its target is no shard or owns it.
        """
        moving = {move.slot for move in table.moves}
        for slot, target in targets.items():
            if slot in moving:
                raise ValueError(f"slot {slot} is moving already")
            if not 0 <= target < table.shards or table.owners[slot] == target:
                raise ValueError(f"slot {slot} cannot move from shard {table.owners[slot]} to {target}")
        begun = [Move(slot, table.owners[slot], target, MovePhase.COPYING) for slot, target in targets.items()]
        return await self._save(replace(table, moves=(*table.moves, *begun)))

    async def switch(self, table: SlotTable, slots: Collection[int]) -> bool:
        """Makes the targets of copied slots their owners. False when the table has changed since."""
        owners = bytearray(table.owners)
        moves = []
        for move in table.moves:
            if move.slot in slots and move.phase is MovePhase.COPYING:
                owners[move.slot] = move.target
                moves.append(replace(move, phase=MovePhase.DRAINING))
            else:
                moves.append(move)
        return await self._save(replace(table, owners=bytes(owners), moves=tuple(moves)))

    async def finish(self, table: SlotTable, slots: Collection[int]) -> bool:
        """Ends moves: a draining one for good; one still copying is called off. False when the table has changed."""
        return await self._save(replace(table, moves=tuple(move for move in table.moves if move.slot not in slots)))

    async def _save(self, table: SlotTable) -> bool:
        change: dict[str, Any] = {
            "version": table.version + 1,
            "shards": table.shards,
            "owners": Binary(table.owners),
            "moves": [
                {"slot": move.slot, "source": move.source, "target": move.target, "phase": move.phase}
                for move in table.moves
            ],
        }
        result = await self._routing.update_one({"_id": _ID, "version": table.version}, {"$set": change})
        return bool(result.matched_count)


def _table(doc: Mapping[str, Any]) -> SlotTable:
    moves = [Move(m["slot"], m["source"], m["target"], MovePhase(m["phase"])) for m in doc.get("moves", [])]
    return SlotTable(doc["version"], doc["shards"], bytes(doc["owners"]), tuple(moves))
