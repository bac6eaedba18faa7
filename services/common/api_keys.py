"""API keys in MongoDB: who they are, what they may, and what they have used of their day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from services.common.mongo import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored.

    Attributes:
        key_id: Names it, in lists and in logs; no secret.
        digest: SHA-256 of its secret, lower-case hex. The secret has 256 random bits, so nothing slower is needed.
        name: What people call it.
        scopes: What it may do: `read`, `upload`, `admin`.
        collections: Whose videos it sees; None for all there are.
        default_collection: Where its uploads go that name no collection; empty for none.
        requests_per_second: Requests it may make in the long run; None for what the gateway's settings say.
        bytes_per_day: Bytes of media it may put in from one midnight UTC to the next; None for any number.
        videos_per_day: Videos it may make in that time; None for any number.
        created_at: When it was made.
        expires_at: When it ends; None for never.
        revoked_at: When it was revoked; None while it holds.
    """

    key_id: str
    digest: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None
    default_collection: str
    requests_per_second: float | None
    bytes_per_day: int | None
    videos_per_day: int | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a key has used on a day."""

    bytes: int
    videos: int


class ApiKeys:
    """The keys and their usage; the collections are `api_keys` and `api_key_usage`."""

    def __init__(self, database: Database) -> None:
        self._keys = database["api_keys"]
        self._usage = database["api_key_usage"]

    async def add(self, key: ApiKey) -> None:
        """Stores a new key."""
        await self._keys.insert_one(_document(key))

    async def get(self, key_id: str) -> ApiKey | None:
        """Gives a key, also one that was revoked; None when there is none."""
        doc = await self._keys.find_one({"_id": key_id})
        return _key(doc) if doc else None

    async def page(self, *, limit: int, before: tuple[dt.datetime, str] | None = None) -> list[ApiKey]:
        """Gives up to `limit` keys, newest first, from behind the one made at `before` (time, id)."""
        query: dict[str, Any] = {}
        if before is not None:
            at, key_id = before
            query["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": key_id}}]
        cursor = self._keys.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit)
        return [_key(doc) async for doc in cursor]

    async def revoke(self, key_id: str, at: dt.datetime) -> ApiKey | None:
        """Ends a key, for good; None when there is none. One that was revoked before stays as it is."""
        await self._keys.update_one({"_id": key_id, "revoked_at": None}, {"$set": {"revoked_at": at}})
        return await self.get(key_id)

    async def any_admin(self, now: dt.datetime) -> bool:
        """Says whether there is a key with the scope `admin` that holds at `now`."""
        lasting = {"$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
        return await self._keys.find_one({"scopes": "admin", "revoked_at": None, **lasting}) is not None

    async def use(
        self, key_id: str, day: dt.datetime, used: Usage, *, most_bytes: int | None, most_videos: int | None
    ) -> bool:
        """Adds to what a key has used of a day, unless it would be more than it may; False then, and nothing is added.

        One atomic update, so that any number of gateways together let no key beyond its quota.
        """
        name = _usage_id(key_id, day)
        # First the empty one: an upsert with a condition on the counters would be a second document of this name.
        fresh = {"$setOnInsert": {"day": day, "bytes": 0, "videos": 0}}
        await self._usage.update_one({"_id": name}, fresh, upsert=True)
        condition: dict[str, Any] = {"_id": name}
        if most_bytes is not None:
            condition["bytes"] = {"$lte": most_bytes - used.bytes}
        if most_videos is not None:
            condition["videos"] = {"$lte": most_videos - used.videos}
        result = await self._usage.update_one(condition, {"$inc": {"bytes": used.bytes, "videos": used.videos}})
        return result.matched_count == 1

    async def used(self, key_id: str, day: dt.datetime) -> Usage:
        """Gives what a key has used of a day."""
        doc = await self._usage.find_one({"_id": _usage_id(key_id, day)})
        return Usage(doc["bytes"], doc["videos"]) if doc else Usage(0, 0)


def _usage_id(key_id: str, day: dt.datetime) -> str:
    return f"{key_id}/{day.date().isoformat()}"


def _document(key: ApiKey) -> dict[str, Any]:
    return {
        "_id": key.key_id,
        "digest": key.digest,
        "name": key.name,
        "scopes": list(key.scopes),
        "collections": None if key.collections is None else list(key.collections),
        "default_collection": key.default_collection,
        "requests_per_second": key.requests_per_second,
        "bytes_per_day": key.bytes_per_day,
        "videos_per_day": key.videos_per_day,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _key(doc: dict[str, Any]) -> ApiKey:
    collections = doc["collections"]
    return ApiKey(
        key_id=doc["_id"],
        digest=doc["digest"],
        name=doc["name"],
        scopes=tuple(doc["scopes"]),
        collections=None if collections is None else tuple(collections),
        default_collection=doc["default_collection"],
        requests_per_second=doc["requests_per_second"],
        bytes_per_day=doc["bytes_per_day"],
        videos_per_day=doc["videos_per_day"],
        created_at=doc["created_at"],
        expires_at=doc["expires_at"],
        revoked_at=doc["revoked_at"],
    )
