"""Which shard every slot is wanted at: what an operator asked for, kept until the slots are there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson.binary import Binary
from pymongo.errors import DuplicateKeyError
from ulid import ULID

from services.common.mongo import Database

_ID = "slot_goal"


@dataclass(frozen=True, slots=True)
class SlotGoal:
    """An assignment that is wanted.

    Attributes:
        goal_id: Names it: another goal, even an equal one, has another.
        shards: Shards there are to be. More than the slot table has: the table grows first. Fewer: it shrinks at last.
        owners: `owners[slot]` is the shard that is to answer for the slot.
        even: Whether it came of scaling, so that scaling to the same number again is no other goal.
        slots_total: Slots that were elsewhere when it was set.
        set_at: When it was set.
    """

    goal_id: str
    shards: int
    owners: bytes
    even: bool
    slots_total: int
    set_at: dt.datetime

    @classmethod
    def of(cls, *, shards: int, owners: bytes, present: bytes, even: bool = False) -> SlotGoal:
        """Makes a goal, to be set now; `present` are the owners of now."""
        total = sum(wanted != owner for wanted, owner in zip(owners, present, strict=True))
        return cls(str(ULID()), shards, owners, even, total, dt.datetime.now(dt.UTC))


class SlotGoals:
    """The goal in MongoDB, beside the slot table."""

    def __init__(self, database: Database) -> None:
        self._routing = database["routing"]

    async def load(self) -> SlotGoal | None:
        """Gives the goal; None when the slots are where they are wanted."""
        doc = await self._routing.find_one({"_id": _ID})
        return _goal(doc) if doc else None

    async def put(self, goal: SlotGoal, *, instead_of: SlotGoal | None) -> bool:
        """Sets a goal. False when the present one is not, or no longer, `instead_of`."""
        doc = {
            "_id": _ID,
            "goal_id": goal.goal_id,
            "shards": goal.shards,
            "owners": Binary(goal.owners),
            "even": goal.even,
            "slots_total": goal.slots_total,
            "set_at": goal.set_at,
        }
        if instead_of is not None:
            result = await self._routing.replace_one({"_id": _ID, "goal_id": instead_of.goal_id}, doc)
            return bool(result.matched_count)
        try:
            await self._routing.insert_one(doc)
        except DuplicateKeyError:
            return False
        return True

    async def clear(self, goal: SlotGoal) -> bool:
        """Takes a goal out: it is reached or called off. False when another has taken its place."""
        result = await self._routing.delete_one({"_id": _ID, "goal_id": goal.goal_id})
        return bool(result.deleted_count)


def _goal(doc: Mapping[str, Any]) -> SlotGoal:
    return SlotGoal(doc["goal_id"], doc["shards"], bytes(doc["owners"]), doc["even"], doc["slots_total"], doc["set_at"])
