"""Uploads past the gateway: the client puts parts into S3 itself, by URLs that are signed for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import FailedPrecondition, InvalidArgument, ObjectNotFound
from services.common.objects import media_key
from services.common.pending_uploads import PendingUpload, Stored, StoredPart, UploadKind
from services.gateway.access.caller import caller
from services.gateway.resumable import Resumable
from services.gateway.storing.bucket import part_bytes
from services.gateway.storing.multipart import Multipart
from services.gateway.uploads import Details, Uploads

MOST_URLS = 1000
"""Signed in one request."""


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Where a part goes, by PUT."""

    number: int
    url: str
    bytes: int


class Presigned:
    """Multipart uploads whose parts the client sends to S3.

    Args:
        resumable: Keeps the uploads.
        uploads: Bounds how many are ended at once.
        multipart: S3's multipart uploads; None where the object store is a folder.
        url_seconds: For how long a URL is good.
    """

    def __init__(
        self, *, resumable: Resumable, uploads: Uploads, multipart: Multipart | None, url_seconds: float
    ) -> None:
        self._resumable = resumable
        self._uploads = uploads
        self._multipart = multipart
        self._url_seconds = round(url_seconds)

    async def begin(self, details: Details, *, length: int, key: str = "") -> PendingUpload:
        """Begins an upload of `length` bytes.

        Raises:
            FailedPrecondition: The object store is not S3.
            PermissionDenied: The collection is not one of the caller's.
            InvalidArgument: Something that is said is wrong.
            MediaTooLarge: It is over the size limit.
        """
        caller().place(details.collection)
        self._bucket()
        return await self._resumable.begin(details, length=length, kind=UploadKind.PARTS, key=key)

    async def sign(self, upload_id: str, numbers: Sequence[int]) -> tuple[list[SignedPart], dt.datetime]:
        """Gives URLs for parts, and until when they are good.

        Raises:
            NotFound: There is no such upload.
            InvalidArgument: There is no such part.
        """
        upload = await self._resumable.get(upload_id, UploadKind.PARTS)
        bucket = self._bucket()
        sizes = part_sizes(upload)
        if not numbers or len(numbers) > MOST_URLS:
            raise InvalidArgument(f"ask for 1 to {MOST_URLS} parts at once", field="parts")
        for number in numbers:
            if not 1 <= number <= len(sizes):
                raise InvalidArgument(f"there is no part {number}; there are 1 to {len(sizes)}", field="parts")
        until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._url_seconds)
        key = media_key(upload.video_id)
        return [
            SignedPart(number, bucket.signed(key, upload.multipart, number, self._url_seconds), sizes[number - 1])
            for number in numbers
        ], until

    async def look(self, upload_id: str) -> tuple[PendingUpload, list[StoredPart]]:
        """Gives an upload and the parts of it that S3 has. Raises NotFound."""
        upload = await self._resumable.get(upload_id, UploadKind.PARTS)
        if upload.complete:
            return upload, list(upload.stored.parts)
        return upload, await self._bucket().parts(media_key(upload.video_id), upload.multipart)

    async def complete(self, upload_id: str) -> PendingUpload:
        """Has S3 put the parts together, reads them to see that they are what was sent, and makes a video of them.

        Done again it gives the same; it also goes on where a crash ended it.

        Raises:
            NotFound: There is no such upload.
            FailedPrecondition: Not all parts are there, or one has another size.
            ChecksumMismatch: They are not what `sha256` says.
        """
        with self._uploads.place():
            upload = await self._resumable.get(upload_id, UploadKind.PARTS)
            if upload.result:
                return upload
            if upload.complete:
                return await self._resumable.end(upload, upload.stored)
            parts = await self._bucket().parts(media_key(upload.video_id), upload.multipart)
            _check(parts, part_sizes(upload))
            return await self._resumable.end(upload, Stored(upload.length or 0, tuple(parts)))

    async def drop(self, upload_id: str) -> None:
        """Gives an upload up, with its parts. Raises NotFound."""
        await self._resumable.drop(upload_id, UploadKind.PARTS)

    def _bucket(self) -> Multipart:
        if self._multipart is None:
            raise FailedPrecondition(
                "the object store is a folder, into which nobody but the gateway can write; upload by tus at /v1/files",
                reason="NO_BUCKET",
            )
        return self._multipart


def part_sizes(upload: PendingUpload) -> list[int]:
    """Gives the bytes of each part: all of one size but the last."""
    if upload.length is None:
        raise ObjectNotFound("the upload says nothing of its length; begin it anew")
    size = part_bytes(upload.length)
    full, rest = divmod(upload.length, size)
    return [size] * full + ([rest] if rest else [])


def _check(parts: Sequence[StoredPart], sizes: Sequence[int]) -> None:
    there = {part.number: part.bytes for part in parts}
    wrong = [number for number, size in enumerate(sizes, 1) if there.get(number) != size]
    if wrong or len(parts) != len(sizes):
        shown = ", ".join(map(str, wrong[:20])) or "beyond the last"
        raise FailedPrecondition(
            f"{len(wrong)} of {len(sizes)} parts are missing or have another size: {shown}; send them, then complete",
            reason="PARTS_MISSING",
            metadata={"parts": ",".join(map(str, wrong[:MOST_URLS]))},
        )
