"""Bytes of uploads as files of the folder that is the object store: they become media by a change of name."""

from __future__ import annotations

import os
from pathlib import Path

from services.common.errors import ObjectNotFound
from services.common.executor import BoundedExecutor
from services.common.objects import media_key
from services.common.pending_uploads import PendingUpload, Stored


class FolderParts:
    """Files under `uploads/`, one for each upload.

    Args:
        root: Folder of the object store.
        concurrency: Uploads that are written to at once.
    """

    def __init__(self, root: Path, *, concurrency: int) -> None:
        self._root = root
        # Every upload writes one block at a time, so the queue cannot overflow.
        self._disk = BoundedExecutor("upload-parts", threads=4, queue=4 * concurrency)

    def close(self) -> None:
        """Ends the threads."""
        self._disk.close()

    async def begin(self, upload_id: str, video_id: str) -> str:  # noqa: ARG002  (S3 needs it)
        """Makes an empty file."""

        def make() -> None:
            path = self._path(upload_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

        await self._disk.run(make)
        return ""

    async def writer(self, upload: PendingUpload) -> FolderWriter:
        """Opens the file at the bytes that count; what lies behind them is cut off."""

        def opened() -> tuple[int, int]:
            descriptor = os.open(self._path(upload.upload_id), os.O_WRONLY | os.O_CREAT, 0o644)
            # A machine that lost its power may have lost what was said to be stored.
            there = min(os.fstat(descriptor).st_size, upload.stored.offset)
            os.ftruncate(descriptor, there)
            return descriptor, there

        descriptor, there = await self._disk.run(opened)
        if there != upload.stored.offset:
            os.close(descriptor)
            raise ObjectNotFound(f"only {there} of {upload.stored.offset} bytes of the upload are there; begin it anew")
        return FolderWriter(descriptor, there, self._disk)

    async def assemble(self, upload: PendingUpload) -> int:
        """Gives the file the name of media."""
        path, media = self._path(upload.upload_id), self._root / media_key(upload.video_id)

        def move() -> int:
            if path.exists():
                media.parent.mkdir(parents=True, exist_ok=True)
                path.replace(media)
            try:
                return media.stat().st_size
            except FileNotFoundError:
                raise ObjectNotFound("the bytes of the upload are gone; begin it anew") from None

        return await self._disk.run(move)

    async def abort(self, upload: PendingUpload) -> None:
        """Removes the file."""
        await self._disk.run(lambda: self._path(upload.upload_id).unlink(missing_ok=True))

    def _path(self, upload_id: str) -> Path:
        return self._root / "uploads" / upload_id


class FolderWriter:
    """Writes to the file of an upload."""

    def __init__(self, descriptor: int, offset: int, disk: BoundedExecutor) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._disk = disk

    async def write(self, block: bytes) -> None:
        """Puts a block behind the others."""

        def written() -> None:
            left, at = memoryview(block), self._offset
            while left:
                count = os.pwrite(self._descriptor, left, at)
                left, at = left[count:], at + count

        await self._disk.run(written)
        self._offset += len(block)

    async def checkpoint(self, *, last: bool = False, whole: bool = False) -> Stored:  # noqa: ARG002  (of S3's)
        """Says how far it has written."""
        return Stored(self._offset)

    async def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)
