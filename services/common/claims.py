"""Short claims in MongoDB: what only one of several gateways may do at a time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
from collections.abc import AsyncIterator

from pymongo.errors import DuplicateKeyError

from services.common.errors import Overloaded
from services.common.mongo import Database

_HELD_SECONDS = 15.0
_PAUSE_SECONDS = 0.05


class Claims:
    """Claims by name; the collection is `claims`.

    A claim ends with its holder, or 15 s after it was made: whatever it guards must also be right when two hold it.
    """

    def __init__(self, database: Database) -> None:
        self._claims = database["claims"]

    @contextlib.asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Waits until nobody else holds `name`, and holds it. Raises Overloaded after as long as a claim can last."""
        holder = secrets.token_hex(8)
        waited = 0.0
        while not await self._take(name, holder):
            if waited > 2 * _HELD_SECONDS:
                raise Overloaded("the same is being done by somebody else; try again shortly", retry_after_seconds=5)
            await asyncio.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS
        try:
            yield
        finally:
            await self._claims.delete_one({"_id": name, "holder": holder})

    async def _take(self, name: str, holder: str) -> bool:
        now = dt.datetime.now(dt.UTC)
        until = now + dt.timedelta(seconds=_HELD_SECONDS)
        try:
            await self._claims.insert_one({"_id": name, "holder": holder, "until": until})
        except DuplicateKeyError:
            over = {"_id": name, "until": {"$lte": now}}
            result = await self._claims.update_one(over, {"$set": {"holder": holder, "until": until}})
            return bool(result.matched_count)
        return True
