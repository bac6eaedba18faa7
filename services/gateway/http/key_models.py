"""The shapes of API keys in the HTTP API, for its documentation."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Right = Literal["read", "upload", "admin"]
KEY_ID = "key3f2a9c0d1e4b5a67"


class _Shape(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class NewKey(_Shape):
    """A key to be made."""

    model_config = ConfigDict(
        extra="forbid",  # a limit that is misspelt would be none
        json_schema_extra={"examples": [{"name": "Ann's site", "scopes": ["read"], "collections": ["talks"]}]},
        use_attribute_docstrings=True,
    )

    name: str
    """Whose it is; 1 to 100 characters."""
    scopes: list[str] = ["read"]
    """read, upload, admin; `admin` may do everything."""
    collections: list[str] | None = None
    """At most 100 collections whose videos it sees; null for all videos, those of no collection too."""
    default_collection: str = ""
    """Where its uploads go that name no collection; the first of `collections` when empty."""
    requests_per_second: float | None = None
    """In the long run, at each gateway; ten seconds' worth may come at once. Null for what its settings say."""
    bytes_per_day: int | None = None
    """Bytes of media it may upload from one midnight UTC to the next; null for any number."""
    videos_per_day: int | None = None
    """Videos it may make in that time; null for any number."""
    expires_in_days: float | None = None
    """Null for never."""


class Key(_Shape):
    """A key, without its text."""

    key_id: str = Field(examples=[KEY_ID])
    name: str
    scopes: list[Right]
    collections: list[str] | None
    default_collection: str | None
    requests_per_second: float | None
    bytes_per_day: int | None
    videos_per_day: int | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    holds: bool
    """Whether it can be used: neither over nor revoked."""


class CreatedKey(Key):
    """A key that was just made, with its text."""

    key: str = Field(examples=[f"earmark_{KEY_ID}_…"])
    """Send it as `Authorization: Bearer …`. It is shown this once."""


class KeyList(_Shape):
    """A page of keys, newest first."""

    keys: list[Key]
    next_cursor: str | None
    """Asks for the next page; null on the last."""


class Self(_Shape):
    """What whoever asks may do."""

    key_id: str | None
    """Null where no key is needed."""
    scopes: list[Right]
    collections: list[str] | None
    """Null for all."""
    default_collection: str | None
