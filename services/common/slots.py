"""The slot table: which shard owns which of the 256 slots. In MongoDB, read by everyone."""

from __future__ import annotations

from dataclasses import dataclass

from bson.binary import Binary
from pymongo.errors import DuplicateKeyError

from services.common.errors import FailedPrecondition
from services.common.ids import SLOTS, slot_of
from services.common.mongo import Database

_ID = "slot_table"


@dataclass(frozen=True, slots=True)
class SlotTable:
    """Which shard owns which slot. `owners[slot]` is the shard; `version` grows with every change."""

    version: int
    shards: int
    owners: bytes

    def shard_of(self, video_id: str) -> int:
        """Gives the shard that holds a video's chunks."""
        return self.owners[slot_of(video_id)]

    def slots_of(self, shard: int) -> frozenset[int]:
        """Gives the slots a shard owns."""
        return frozenset(slot for slot, owner in enumerate(self.owners) if owner == shard)


class SlotTables:
    """The slot table in MongoDB, collection `routing`."""

    def __init__(self, database: Database) -> None:
        self._routing = database["routing"]

    async def load_or_create(self, shards: int) -> SlotTable:
        """Gives the table; the first to ask creates one that spreads the slots evenly.

        Raises:
            FailedPrecondition: The table is for another number of shards.
        """
        doc = await self._routing.find_one({"_id": _ID})
        if doc is None:
            owners = bytes(slot * shards // SLOTS for slot in range(SLOTS))
            doc = {"_id": _ID, "version": 1, "shards": shards, "owners": Binary(owners)}
            try:
                await self._routing.insert_one(doc)
            except DuplicateKeyError:
                return await self.load_or_create(shards)
        table = SlotTable(doc["version"], doc["shards"], bytes(doc["owners"]))
        if table.shards != shards:
            raise FailedPrecondition(
                f"the slot table is for {table.shards} shards, not {shards}: set EARMARK_SHARDS={table.shards}",
                reason="SHARD_COUNT_CHANGED",
            )
        return table
