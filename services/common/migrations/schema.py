"""The schema of the database: its version, how it came there, and one process at a time that changes it.

All of it is one document (collection `schema`), beside what it tells of:

    {_id: "schema", version, readable_by, held_at, lease: {holder, by, doing, until}, history: [{number, direction, …}]}

A process that is killed leaves a lease that runs out, and a version that is that of the last change it ended; another
does the one it was at again from its beginning, which changes only what is left to change.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib.metadata
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.common.migrations.known import MIGRATIONS
from services.common.migrations.migration import Migration
from services.common.mongo import Database

log = structlog.get_logger()

LEASE_SECONDS = 30.0
_ID = "schema"
_PAUSE_SECONDS = 0.1
_HISTORY = 100

Direction = Literal["up", "down"]


class SchemaBusy(Unavailable):
    """Somebody else changes the schema."""

    reason = "SCHEMA_BUSY"


@dataclass(frozen=True, slots=True)
class State:
    """The schema as it stands.

    Attributes:
        version: Number of the last migration made; 0 before the first.
        readable_by: The lowest version a release must know to work with it.
        held_at: Where an operator holds it, so that nothing goes beyond by itself; None where nobody does.
        doing: Who changes it just now, and what; empty where nobody does.
        history: The last changes, the oldest first.
    """

    version: int = 0
    readable_by: int = 0
    held_at: int | None = None
    doing: str = ""
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A migration that is made or taken back, and how many documents or indexes that changes."""

    migration: Migration
    direction: Direction
    count: int


class Schema:
    """Brings a database to a version.

    Args:
        database: The database.
        migrations: All that are known, in order.
        lease_seconds: How long a process that was killed keeps others from going on; longer than a step mostly takes.
    """

    def __init__(
        self,
        database: Database,
        migrations: Sequence[Migration] = MIGRATIONS,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._schema = database["schema"]
        self._migrations = migrations
        self._lease = dt.timedelta(seconds=lease_seconds)
        self._by = f"{socket.gethostname()}/{os.getpid()}"
        self._mine = {"_id": _ID, "lease.holder": secrets.token_hex(8)}

    @property
    def newest(self) -> int:
        """The version this release knows."""
        return len(self._migrations)

    async def state(self) -> State:
        """Gives how it stands."""
        doc = await self._schema.find_one({"_id": _ID})
        if doc is None:
            return State()
        lease = doc["lease"] if doc["lease"] and doc["lease"]["until"] > dt.datetime.now(dt.UTC) else None
        doing = f"{lease['by']}: {lease['doing']}" if lease else ""
        return State(doc["version"], doc["readable_by"], doc["held_at"], doing, doc["history"])

    async def check(self) -> None:
        """Raises FailedPrecondition where this release cannot work with what a newer one made of the database.

        A database that does not answer is for those to notice who need it: searches go on without.
        """
        try:
            self._check(await self.state())
        except PyMongoError as error:
            log.warning("schema_unknown", error=repr(error))

    async def migrate(self) -> list[Change]:
        """Brings it to the version of this release, or to where an operator holds it, and gives what that changed.

        What is missing of earlier changes, since a service of an older release wrote in its own form, is made too.
        While another process is at it this waits, but not for ever: services work with and without what is added.

        Raises:
            FailedPrecondition: This release cannot work with it.
        """
        try:
            state = await self.state()
            self._check(state)
            if state.held_at is not None and state.held_at < self.newest:
                log.warning("schema_held", version=state.version, held_at=state.held_at, newest=self.newest)
            if not await self._ahead(state):
                return []
            async with self._held():
                # As it is now: whoever held it before may have made some of them.
                return [await self._make(change) for change in await self._ahead(await self.state())]
        except SchemaBusy as busy:
            log.warning("schema_busy", message=busy.message)
            return []

    async def plan(self, to: int) -> list[Change]:
        """Gives what `move` would do. Raises as it does."""
        state = await self.state()
        self._check(state)
        if not 0 <= to <= self.newest:
            raise InvalidArgument(f"this release knows the versions 0 to {self.newest}")
        if state.version > self.newest:
            raise FailedPrecondition(
                f"the database has schema {state.version}, and this release knows {self.newest}: a newer one must "
                f"take back what it made, `earmark migrate down --to {self.newest}` run from it",
                reason="SCHEMA_TOO_NEW",
            )
        back = [
            Change(migration, "down", await migration.made(self._database))
            for migration in reversed(self._migrations[to : state.version])
        ]
        return back or await self._missing(state, to)

    async def move(self, to: int) -> list[Change]:
        """Brings it to a version, up or down, and gives what that changed; below the newest it is held there.

        Raises:
            InvalidArgument: There is no such version.
            FailedPrecondition: A newer release made what this one does not know.
            SchemaBusy: Somebody else changes it all the time.
        """
        await self.plan(to)
        async with self._held():
            held = to if to < self.newest else None
            await self._schema.update_one(self._mine, {"$set": {"held_at": held}})
            return [await self._make(change) for change in await self.plan(to)]

    def _check(self, state: State) -> None:
        if state.readable_by > self.newest:
            raise FailedPrecondition(
                f"the database has schema {state.version}, which releases can read that know {state.readable_by}; "
                f"this one knows {self.newest}. Start a newer release, or take the change back with one: "
                f"`earmark migrate down --to {self.newest}`",
                reason="SCHEMA_TOO_NEW",
            )

    async def _ahead(self, state: State) -> list[Change]:
        # What a newer release made may have replaced what an older one would miss.
        if state.version > self.newest:
            return []
        return await self._missing(state, self.newest if state.held_at is None else min(state.held_at, self.newest))

    async def _missing(self, state: State, to: int) -> list[Change]:
        counted = [Change(one, "up", await one.left(self._database)) for one in self._migrations[:to]]
        return [change for change in counted if change.migration.number > state.version or change.count]

    async def _make(self, change: Change) -> Change:
        migration, up = change.migration, change.direction == "up"
        began, count = dt.datetime.now(dt.UTC), 0
        await self._renew({"lease.doing": f"{change.direction} {migration.number}"})
        if up:
            # First: from its first step on there is what only those may read.
            await self._schema.update_one(self._mine, {"$max": {"readable_by": migration.readable_from}})
        async with contextlib.aclosing((migration.up if up else migration.down)(self._database)) as steps:
            async for changed in steps:
                count += changed
                await self._renew({})
        entry = {
            "number": migration.number,
            "direction": change.direction,
            "changed": count,
            "began_at": began,
            "seconds": (dt.datetime.now(dt.UTC) - began).total_seconds(),
            "by": self._by,
            "release": importlib.metadata.version("earmark"),
        }
        below = self._migrations[: migration.number - 1]
        stands: dict[str, Any] = {"$push": {"history": {"$each": [entry], "$slice": -_HISTORY}}}
        if up:
            stands["$max"] = {"version": migration.number}
        else:
            readable_by = max((one.readable_from for one in below), default=0)
            stands["$set"] = {"version": len(below), "readable_by": readable_by}
        if not (await self._schema.update_one(self._mine, stands)).matched_count:
            raise self._busy()
        log.info("schema_changed", number=migration.number, direction=change.direction, changed=count)
        return Change(migration, change.direction, count)

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Holds the lease. Raises SchemaBusy when another holds it for longer than one that was killed can."""
        await self._begin()
        patience = dt.datetime.now(dt.UTC) + 2 * self._lease
        while not await self._take():
            if dt.datetime.now(dt.UTC) > patience:
                raise self._busy()
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            yield
        finally:
            await self._schema.update_one(self._mine, {"$set": {"lease": None}})

    async def _begin(self) -> None:
        fresh: dict[str, Any] = {"version": 0, "readable_by": 0, "held_at": None, "lease": None, "history": []}
        with contextlib.suppress(DuplicateKeyError):  # another was faster
            await self._schema.update_one({"_id": _ID}, {"$setOnInsert": fresh}, upsert=True)

    async def _take(self) -> bool:
        now = dt.datetime.now(dt.UTC)
        lease = {"holder": self._mine["lease.holder"], "by": self._by, "doing": "", "until": now + self._lease}
        free = {"_id": _ID, "$or": [{"lease": None}, {"lease.until": {"$lte": now}}]}
        return bool((await self._schema.update_one(free, {"$set": {"lease": lease}})).matched_count)

    async def _renew(self, fields: dict[str, Any]) -> None:
        until = {"lease.until": dt.datetime.now(dt.UTC) + self._lease}
        if not (await self._schema.update_one(self._mine, {"$set": {**until, **fields}})).matched_count:
            raise self._busy()

    @staticmethod
    def _busy() -> SchemaBusy:
        return SchemaBusy("another process changes the schema; `earmark migrate status` says which. Try again later")
