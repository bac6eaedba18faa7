"""The right to write to an upload, on a machine too busy to keep it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Aborted, MediaTooLarge
from services.common.pending_uploads import PendingUpload, Stored, UploadKind
from services.gateway.access.caller import ANYBODY, enter
from services.gateway.resumable import Resumable
from services.gateway.storing.folder import FolderParts

LEASE_SECONDS = 0.03
NOW = dt.datetime.now(dt.UTC)


class Pending:
    """One upload, whose database is so slow that a lease is over by the time that it is renewed."""

    def __init__(self) -> None:
        end = NOW + dt.timedelta(days=1)
        self.upload = PendingUpload(
            upload_id="upl_1", video_id="vid_1", kind=UploadKind.TUS, length=100, created_at=NOW, expires_at=end
        )
        self.writer = ""

    async def get(self, _upload_id: str) -> PendingUpload:
        return self.upload

    async def take(self, _upload_id: str, writer: str, **_told: Any) -> PendingUpload:
        self.writer = writer
        return self.upload

    async def renew(self, _upload_id: str, writer: str, **_told: Any) -> bool:
        await asyncio.sleep(2 * LEASE_SECONDS)
        return self.writer == writer

    async def commit(self, _upload_id: str, writer: str, stored: Stored, **_told: Any) -> bool:
        if self.writer != writer:
            return False
        self.upload = replace(self.upload, stored=stored)
        return True

    async def release(self, _upload_id: str, _writer: str, _now: dt.datetime) -> None:
        self.writer = ""


class Uploads:
    """Lets everything in."""

    place = staticmethod(contextlib.nullcontext)

    def too_large(self) -> MediaTooLarge:
        return MediaTooLarge("too large")

    async def hashed(self, digest: hashlib._Hash, block: bytes) -> None:
        digest.update(block)


@pytest.fixture
def pending() -> Pending:
    return Pending()


@pytest.fixture
async def resumable(pending: Pending, tmp_path: Path) -> AsyncIterator[Resumable]:
    parts = FolderParts(tmp_path, concurrency=1)
    await parts.begin("upl_1", "vid_1")
    given: dict[str, Any] = {"pending": pending, "parts": parts, "uploads": Uploads()}
    absent: dict[str, Any] = dict.fromkeys(("objects", "videos", "idempotency"))
    yield Resumable(
        **given,
        **absent,
        max_bytes=1000,
        idle_seconds=30,
        lifetime_seconds=60,
        lease_seconds=LEASE_SECONDS,
    )
    parts.close()


async def late(pending: Pending, writer: str | None = None) -> AsyncIterator[bytes]:
    yield b"what came"
    await asyncio.sleep(3 * LEASE_SECONDS)
    if writer is not None:
        pending.writer = writer


async def test_a_lease_that_ran_out_is_taken_up_again_where_nobody_else_writes(
    resumable: Resumable, pending: Pending
) -> None:
    enter(ANYBODY)
    upload = await resumable.append("upl_1", 0, late(pending))
    assert upload.stored.offset == len(b"what came")


async def test_a_lease_that_somebody_else_has_is_not(resumable: Resumable, pending: Pending) -> None:
    enter(ANYBODY)
    with pytest.raises(Aborted):
        await resumable.append("upl_1", 0, late(pending, writer="another"))
    assert pending.upload.stored.offset == 0
