"""What was done under which `Idempotency-Key`, in MongoDB."""

from __future__ import annotations

import datetime as dt

from pymongo import ASCENDING, IndexModel

from services.common.mongo import Database


class RequestKeys:
    """Fingerprints of requests and the ids of what they made; the collection is `request_keys`."""

    def __init__(self, database: Database) -> None:
        self._keys = database["request_keys"]

    async def ensure_indexes(self) -> None:
        """Creates the index that drops what is over; doing it again is fine."""
        await self._keys.create_indexes([IndexModel([("expires_at", ASCENDING)], name="over", expireAfterSeconds=0)])

    async def get(self, name: str) -> tuple[str, str] | None:
        """Gives fingerprint and id; None where there are none, or they are over."""
        doc = await self._keys.find_one({"_id": name, "expires_at": {"$gt": dt.datetime.now(dt.UTC)}})
        return (doc["fingerprint"], doc["result"]) if doc else None

    async def put(self, name: str, fingerprint: str, result: str, *, expires_at: dt.datetime) -> None:
        """Keeps fingerprint and id until then."""
        fields = {"fingerprint": fingerprint, "result": result, "expires_at": expires_at}
        await self._keys.update_one({"_id": name}, {"$set": fields}, upsert=True)

    async def remove(self, name: str) -> None:
        """Forgets them; forgetting twice is fine."""
        await self._keys.delete_one({"_id": name})
