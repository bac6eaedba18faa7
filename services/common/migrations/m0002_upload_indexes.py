"""The indexes of what came with uploads that can be gone on with: they find what is over, or let MongoDB drop it."""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

from services.common.migrations.indexes import index_migration

MIGRATION = index_migration(
    2,
    "indexes of uploads under way, request keys and claims",
    {
        "uploads": [
            IndexModel([("expires_at", ASCENDING)], name="expired"),
            IndexModel([("owner", ASCENDING), ("state", ASCENDING)], name="of_owner"),
        ],
        "request_keys": [IndexModel([("expires_at", ASCENDING)], name="over", expireAfterSeconds=0)],
        "claims": [IndexModel([("until", ASCENDING)], name="over", expireAfterSeconds=60)],
    },
)
