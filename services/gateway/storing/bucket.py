"""Bytes of uploads as parts of S3's own multipart uploads: they become media without being moved.

A part has at least 5 MiB, unless it is the last. What is left behind the last full part when a request ends is kept as
an object of its own, and stands before what the next request brings.
"""

from __future__ import annotations

from services.common.errors import ObjectNotFound
from services.common.objects import ObjectStore, media_key
from services.common.pending_uploads import PendingUpload, Stored, StoredPart
from services.gateway.storing.multipart import Multipart

SMALLEST_PART = 8 * 2**20
MOST_PARTS = 10_000


def part_bytes(largest_upload: int) -> int:
    """Gives the size of parts by which the largest upload has room in as many as S3 takes, with some to spare."""
    return max(SMALLEST_PART, -(-largest_upload // (MOST_PARTS - 500)))


class BucketParts:
    """Parts in a bucket.

    Args:
        objects: The bucket.
        multipart: What S3 calls by that name.
        size: Bytes of a part.
    """

    def __init__(self, objects: ObjectStore, multipart: Multipart, *, size: int) -> None:
        self._objects = objects
        self._multipart = multipart
        self._size = size

    async def begin(self, upload_id: str, video_id: str) -> str:  # noqa: ARG002  (the folder needs it)
        """Begins a multipart upload."""
        return await self._multipart.begin(media_key(video_id))

    async def writer(self, upload: PendingUpload) -> BucketWriter:
        """Fetches what lies behind the last part."""
        begun = await self._objects.get(upload.stored.tail) if upload.stored.tail else b""
        return BucketWriter(self._objects, self._multipart, upload, begun, self._size)

    async def assemble(self, upload: PendingUpload) -> int:
        """Has S3 put the parts together."""
        key = media_key(upload.video_id)
        await self._multipart.complete(key, upload.multipart, upload.stored.parts)
        if upload.stored.tail:
            await self._objects.delete(upload.stored.tail)
        return await self._objects.size(key)

    async def abort(self, upload: PendingUpload) -> None:
        """Has S3 forget the parts."""
        await self._multipart.abort(media_key(upload.video_id), upload.multipart)
        if upload.stored.tail:
            await self._objects.delete(upload.stored.tail)


class BucketWriter:
    """Gathers bytes until they are a part."""

    def __init__(
        self, objects: ObjectStore, multipart: Multipart, upload: PendingUpload, begun: bytes, size: int
    ) -> None:
        self._objects = objects
        self._multipart = multipart
        self._upload = upload
        self._size = size
        self._parts = list(upload.stored.parts)
        self._tail = upload.stored.tail
        self._waiting = bytearray(begun)
        self._sent = sum(part.bytes for part in self._parts)
        if self._sent + len(begun) != upload.stored.offset:
            raise ObjectNotFound("not all bytes of the upload are there any more; begin it anew")

    async def write(self, block: bytes) -> None:
        """Takes the next bytes, and sends a part when there are enough."""
        self._waiting += block
        while len(self._waiting) >= self._size:
            await self._send(bytes(self._waiting[: self._size]))
            del self._waiting[: self._size]

    async def checkpoint(self, *, last: bool = False, whole: bool = False) -> Stored:
        """Says how far the parts reach; at the last also keeps what lies behind them."""
        if whole and self._waiting:
            await self._send(bytes(self._waiting))
            self._waiting.clear()
        elif last and self._waiting:
            offset = self._sent + len(self._waiting)
            tail = f"uploads/{self._upload.upload_id}/{offset}"
            await self._objects.put(tail, bytes(self._waiting))
            return Stored(offset, tuple(self._parts), tail)
        # While parts have not reached beyond the tail there was, that one counts.
        if self._sent < self._upload.stored.offset:
            return self._upload.stored
        return Stored(self._sent, tuple(self._parts), "")

    async def close(self) -> None:
        """Lets go of the bytes."""
        self._waiting.clear()

    async def _send(self, data: bytes) -> None:
        key, number = media_key(self._upload.video_id), len(self._parts) + 1
        etag = await self._multipart.put(key, self._upload.multipart, number, data)
        self._parts.append(StoredPart(number, etag, len(data)))
        self._sent += len(data)
