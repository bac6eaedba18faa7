"""The indexes that the first release made at each start."""

from __future__ import annotations

from pymongo import ASCENDING, DESCENDING, IndexModel

from services.common.migrations.indexes import index_migration

_DAY_SECONDS = 24 * 3600
_UPLOADED = [("metadata.uploaded_at", DESCENDING), ("_id", DESCENDING)]

MIGRATION = index_migration(
    1,
    "indexes of videos, their chunks and keys",
    {
        "videos": [
            IndexModel(_UPLOADED, name="newest_first"),
            IndexModel([("collection", ASCENDING), *_UPLOADED], name="of_collection"),
            IndexModel([("status", ASCENDING), ("updated_at", ASCENDING)], name="stalled"),
            IndexModel([("slot", ASCENDING)], name="slot"),
            IndexModel([("source.sha256", ASCENDING)], name="same_bytes", sparse=True),
            IndexModel([("outbox.at", ASCENDING)], name="owed", sparse=True),
            IndexModel([("external_id", ASCENDING)], name="external_id", sparse=True, unique=True),
        ],
        "continuations": [IndexModel([("video_id", ASCENDING)], name="video")],
        "api_keys": [IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="newest")],
        "api_key_usage": [IndexModel([("day", ASCENDING)], name="old", expireAfterSeconds=40 * _DAY_SECONDS)],
    },
)
