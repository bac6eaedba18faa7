"""What was done under which `Idempotency-Key`, in MongoDB."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

from services.common.mongo import Database


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What was done under a key.

    Attributes:
        fingerprint: Stands for the request.
        result: Id of what it makes.
        expires_at: When the key is forgotten.
        made: Whether it is known to have been made: one that is not there then was deleted, not interrupted.
    """

    fingerprint: str
    result: str
    expires_at: dt.datetime
    made: bool


class RequestKeys:
    """Fingerprints of requests and the ids of what they made; the collection is `request_keys`."""

    def __init__(self, database: Database) -> None:
        self._keys = database["request_keys"]

    async def get(self, name: str) -> RequestKey | None:
        """Gives what was done under a key; None where nothing was, or it is over."""
        doc = await self._keys.find_one({"_id": name, "expires_at": {"$gt": dt.datetime.now(dt.UTC)}})
        if doc is None:
            return None
        # The release before did not write whether it was made.
        return RequestKey(doc["fingerprint"], doc["result"], doc["expires_at"], made=doc.get("made", False))

    async def put(self, name: str, key: RequestKey) -> None:
        """Keeps it for a while."""
        await self._keys.update_one({"_id": name}, {"$set": asdict(key)}, upsert=True)

    async def remove(self, name: str) -> None:
        """Forgets them; forgetting twice is fine."""
        await self._keys.delete_one({"_id": name})
