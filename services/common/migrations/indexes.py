"""Migrations that make indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import IndexModel
from pymongo.errors import OperationFailure

from services.common.migrations.migration import Migration, Steps
from services.common.mongo import Database

_INDEX_NOT_FOUND = 27
"""MongoDB's code: somebody else was faster."""

Indexes = Mapping[str, Sequence[IndexModel]]
"""The indexes of each collection, each with a name."""


def index_migration(number: int, title: str, indexes: Indexes) -> Migration:
    """Gives a migration that makes `indexes`, a collection a step; down drops those it names.

    Indexes are told by their names: another definition under the name of one that is there fails.
    """

    async def up(database: Database) -> Steps:
        for collection, models in indexes.items():
            missing = await _named(database, collection, models, there=False)
            if missing:
                await database[collection].create_indexes(missing)
                yield len(missing)

    async def down(database: Database) -> Steps:
        for collection, models in indexes.items():
            for model in await _named(database, collection, models, there=True):
                yield await _drop(database, collection, _name(model))

    async def count(database: Database, *, there: bool) -> int:
        return sum([len(await _named(database, *entry, there=there)) for entry in indexes.items()])

    async def left(database: Database) -> int:
        return await count(database, there=False)

    async def made(database: Database) -> int:
        return await count(database, there=True)

    return Migration(number=number, title=title, up=up, down=down, left=left, made=made)


async def _drop(database: Database, collection: str, name: str) -> int:
    try:
        await database[collection].drop_index(name)
    except OperationFailure as error:
        if error.code != _INDEX_NOT_FOUND:
            raise
        return 0
    return 1


async def _named(database: Database, collection: str, models: Sequence[IndexModel], *, there: bool) -> list[IndexModel]:
    present = {index["name"] async for index in await database[collection].list_indexes()}
    return [model for model in models if (_name(model) in present) is there]


def _name(model: IndexModel) -> Any:
    return model.document["name"]
