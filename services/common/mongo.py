"""The connection to MongoDB."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from services.common.codec import CODEC
from services.common.settings import CommonSettings

Database = AsyncDatabase[dict[str, Any]]


async def connect(settings: CommonSettings, stack: AsyncExitStack) -> Database:
    """Opens the database, with writes acknowledged by a majority and dates in UTC; closes with the stack."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        settings.mongo_url.get_secret_value(),
        appname="earmark",
        w="majority",
        retryWrites=True,
        serverSelectionTimeoutMS=5000,
        connectTimeoutMS=3000,
        socketTimeoutMS=30000,
        maxPoolSize=32,
    )
    stack.push_async_callback(client.close)
    return client.get_database(settings.mongo_database, codec_options=CODEC)


async def answers(database: Database) -> bool:
    """Says whether the server answers."""
    try:
        await database.command("ping")
    except PyMongoError:
        return False
    return True
