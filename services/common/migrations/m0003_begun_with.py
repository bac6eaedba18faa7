"""How many shards an index was begun with, in slot tables of the first release, which did not write it down.

Indexers refuse a number of shards by which they would change places, but only where this number is known. A table that
was never changed says it still: its shards are those it was made with. One that was stays as it is.
"""

from __future__ import annotations

from services.common.migrations.migration import Migration, Steps
from services.common.mongo import Database

_UNCHANGED = {"_id": "slot_table", "version": 1, "begun_with": None}
_FILLED = {"_id": "slot_table", "begun_with_filled": True}
"""Tells what was written here from what a table was made with."""


async def _up(database: Database) -> Steps:
    async for table in database["routing"].find(_UNCHANGED, {"shards": 1}):
        filled = {"begun_with": table["shards"], "begun_with_filled": True}
        result = await database["routing"].update_one(_UNCHANGED, {"$set": filled})
        yield result.modified_count


async def _down(database: Database) -> Steps:
    result = await database["routing"].update_one(_FILLED, {"$unset": {"begun_with": "", "begun_with_filled": ""}})
    yield result.modified_count


async def _left(database: Database) -> int:
    return await database["routing"].count_documents(_UNCHANGED)


async def _made(database: Database) -> int:
    return await database["routing"].count_documents(_FILLED)


MIGRATION = Migration(
    number=3,
    title="shards the index was begun with, for slot tables of the first release",
    up=_up,
    down=_down,
    left=_left,
    made=_made,
)
