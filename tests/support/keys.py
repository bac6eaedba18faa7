"""Keys of a gateway under test."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.gateway import Gateway

ADMIN_KEY = "a" * 40
KEYS: dict[str, Any] = {"access": "keys", "admin_key": ADMIN_KEY, "url_secret": "s" * 40, "key_cache_seconds": 0.2}
"""Settings of a gateway that takes keys."""


def bearer(key: str) -> dict[str, str]:
    """The header that a key is sent in."""
    return {"Authorization": f"Bearer {key}"}


async def make_key(mesh: Gateway, **fields: Any) -> dict[str, Any]:
    """Makes a key and gives it, with its text as `key`."""
    answer = await mesh.http.post("/keys", json={"name": "test", **fields}, headers=bearer(ADMIN_KEY))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def upload(mesh: Gateway, key: str, *, data: bytes = b"media", **fields: str) -> httpx.Response:
    """Uploads a file with a key, as a new video each time."""
    form = {name: (None, value) for name, value in {"duplicate": "allow", **fields}.items()}
    files: dict[str, Any] = {**form, "file": ("talk.mp4", data, "video/mp4")}
    return await mesh.http.post("/videos/upload", files=files, headers=bearer(key))
