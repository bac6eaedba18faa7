"""Uploads under way, in MongoDB: how far each is, whose it is, and who writes to it just now.

The bytes are in the object store; a document says how many of them count. So any gateway goes on with what another
began, also with what one that was killed had begun: bytes behind `offset` are as if they had never come.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from services.common.mongo import Database

_FORM_KEPT = dt.timedelta(days=7)
"""Longer than any upload in one request takes."""


class UploadKind(StrEnum):
    """How the bytes come."""

    TUS = "tus"
    """In requests to gateways, each of which goes on where the one before ended."""
    PARTS = "parts"
    """Straight to S3, in parts whose URLs a gateway signs."""
    FORM = "form"
    """In one request; the document is there only to find what a killed gateway leaves."""


class UploadState(StrEnum):
    """Where an upload stands: open ──▶ done (there is a video), or refused (there never will be)."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a multipart upload of S3's; numbers count from 1."""

    number: int
    etag: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """How far the bytes of an upload are stored.

    Attributes:
        offset: Bytes that are.
        parts: Parts that hold them; of S3 only.
        tail: Key of the object with the bytes behind the last part, too few for one; empty where there are none.
    """

    offset: int = 0
    parts: tuple[StoredPart, ...] = ()
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUpload:
    """An upload as it is stored.

    Attributes:
        upload_id: Names it, and lets nobody guess it.
        video_id: What its video will be called; chosen at the beginning, so that ending twice makes one video.
        kind: How the bytes come.
        owner: Key it was begun with; empty where none is needed.
        rights: What that key may do, for when the sweeper ends what the last request could not.
        details: What was said of the media.
        length: Bytes that are to come; None while that is not said.
        stored: How far it is.
        multipart: Name S3 has for it; empty in a folder.
        state: Where it stands.
        result: Video it came to: `video_id`, or one with the same bytes that was there before. Empty while open.
        problem: Reason and message, where it was refused.
        created_at: When it was begun.
        expires_at: When it is given up, unless more comes.
    """

    upload_id: str
    video_id: str
    kind: UploadKind
    owner: str = ""
    rights: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None
    stored: Stored = field(default_factory=Stored)
    multipart: str = ""
    state: UploadState = UploadState.OPEN
    result: str = ""
    problem: tuple[str, str] = ("", "")
    created_at: dt.datetime
    expires_at: dt.datetime

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return self.length is not None and self.stored.offset == self.length

    @property
    def existing(self) -> bool:
        """Whether it came to a video that was there before."""
        return bool(self.result) and self.result != self.video_id

    @classmethod
    def from_document(cls, doc: Mapping[str, Any]) -> Self:
        """Reads a document."""
        parts = tuple(StoredPart(*part) for part in doc["parts"])
        return cls(
            upload_id=doc["_id"],
            video_id=doc["video_id"],
            kind=UploadKind(doc["kind"]),
            owner=doc["owner"],
            rights=doc["rights"],
            details=doc["details"],
            length=doc["length"],
            stored=Stored(doc["offset"], parts, doc["tail"]),
            multipart=doc["multipart"],
            state=UploadState(doc["state"]),
            result=doc["result"],
            problem=(doc["problem"][0], doc["problem"][1]),
            created_at=doc["created_at"],
            expires_at=doc["expires_at"],
        )

    def to_document(self) -> dict[str, Any]:
        """Gives the document of one that has just begun."""
        return {
            "_id": self.upload_id,
            "video_id": self.video_id,
            "kind": self.kind.value,
            "owner": self.owner,
            "rights": dict(self.rights),
            "details": dict(self.details),
            "length": self.length,
            "offset": self.stored.offset,
            "parts": [],
            "tail": "",
            "multipart": self.multipart,
            "state": self.state.value,
            "result": "",
            "problem": ["", ""],
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "writer": "",
            "lease_until": self.created_at,
        }


class PendingUploads:
    """The documents; the collection is `uploads`. One writer at a time: `take` gives the right to write for a while."""

    def __init__(self, database: Database) -> None:
        self._uploads = database["uploads"]

    async def add(self, upload: PendingUpload) -> None:
        """Stores one that begins."""
        await self._uploads.insert_one(upload.to_document())

    async def begin(self, video_id: str) -> None:
        """Says that bytes of a video are about to be stored by a request that may never end."""
        now = dt.datetime.now(dt.UTC)
        expires_at = now + _FORM_KEPT
        await self.add(
            PendingUpload(
                upload_id=video_id, video_id=video_id, kind=UploadKind.FORM, created_at=now, expires_at=expires_at
            )
        )

    async def done(self, video_id: str) -> None:
        """Says that nothing is left to look after."""
        await self.remove(video_id)

    async def get(self, upload_id: str) -> PendingUpload | None:
        """Gives an upload; None when there is none."""
        doc = await self._uploads.find_one({"_id": upload_id})
        return PendingUpload.from_document(doc) if doc else None

    async def open_sizes(self, owner: str) -> list[int]:
        """Gives the bytes of each of a key's uploads under way: of the whole, or those that are there."""
        found = self._uploads.find({"owner": owner, "state": UploadState.OPEN.value}, {"length": True, "offset": True})
        return [doc["offset"] if doc["length"] is None else doc["length"] async for doc in found]

    async def take(
        self, upload_id: str, writer: str, *, offset: int, now: dt.datetime, until: dt.datetime
    ) -> PendingUpload | None:
        """Lets one writer at an open upload that is at `offset`; None when it is not, or another's time lasts."""
        free = {"_id": upload_id, "state": UploadState.OPEN.value, "offset": offset, "lease_until": {"$lte": now}}
        taken = await self._uploads.update_one(free, {"$set": {"writer": writer, "lease_until": until}})
        return await self.get(upload_id) if taken.matched_count else None

    async def renew(self, upload_id: str, writer: str, *, until: dt.datetime) -> bool:
        """Gives a writer more time; False when it is not the writer any more."""
        result = await self._uploads.update_one({"_id": upload_id, "writer": writer}, {"$set": {"lease_until": until}})
        return bool(result.matched_count)

    async def commit(
        self,
        upload_id: str,
        writer: str,
        stored: Stored,
        *,
        expires_at: dt.datetime,
        length: int | None,
        before: Stored,
    ) -> bool:
        """Says how far the bytes are stored now, having been `before`; False when somebody else writes."""
        change: dict[str, Any] = {
            "$set": {"offset": stored.offset, "tail": stored.tail, "expires_at": expires_at, "length": length}
        }
        if new := stored.parts[len(before.parts) :]:
            change["$push"] = {"parts": {"$each": [[part.number, part.etag, part.bytes] for part in new]}}
        condition = {"_id": upload_id, "writer": writer, "state": UploadState.OPEN.value, "offset": before.offset}
        return bool((await self._uploads.update_one(condition, change)).matched_count)

    async def release(self, upload_id: str, writer: str, now: dt.datetime) -> None:
        """Ends a writer's time."""
        await self._uploads.update_one(
            {"_id": upload_id, "writer": writer}, {"$set": {"writer": "", "lease_until": now}}
        )

    async def end(
        self, upload_id: str, state: UploadState, *, result: str = "", problem: Sequence[str] = ("", "")
    ) -> None:
        """Says what an upload came to."""
        await self._uploads.update_one(
            {"_id": upload_id, "state": UploadState.OPEN.value},
            {"$set": {"state": state.value, "result": result, "problem": list(problem)}},
        )

    async def remove(self, upload_id: str) -> None:
        """Forgets an upload; forgetting twice is fine."""
        await self._uploads.delete_one({"_id": upload_id})

    async def expired(self, now: dt.datetime, *, limit: int = 100) -> list[PendingUpload]:
        """Gives uploads that are to be given up, and those long done: who writes to one is left alone."""
        query = {"expires_at": {"$lte": now}, "lease_until": {"$lte": now}}
        return [PendingUpload.from_document(doc) async for doc in self._uploads.find(query).limit(limit)]

    async def unended(self, before: dt.datetime, *, limit: int = 100) -> list[PendingUpload]:
        """Gives uploads all of whose bytes are there, but that came to nothing, and nobody has looked after since."""
        query = {
            "state": UploadState.OPEN.value,
            "kind": UploadKind.TUS.value,
            "lease_until": {"$lte": before},
            "$expr": {"$eq": ["$offset", "$length"]},
        }
        return [PendingUpload.from_document(doc) async for doc in self._uploads.find(query).limit(limit)]
