"""Where the bytes of uploads are that come in several requests, until they are media."""

from __future__ import annotations

from typing import Protocol

from services.common.pending_uploads import PendingUpload, Stored


class PartWriter(Protocol):
    """Puts bytes behind those that an upload has."""

    async def write(self, block: bytes) -> None:
        """Takes the next bytes. They count once a checkpoint has them in."""
        ...

    async def checkpoint(self, *, last: bool = False, whole: bool = False) -> Stored:
        """Says how far the bytes are stored.

        Args:
            last: Whether nothing more comes from this writer: then all that was written is in.
            whole: Whether nothing more comes at all.
        """
        ...

    async def close(self) -> None:
        """Lets go of what it holds; what no checkpoint has is lost."""
        ...


class PartStore(Protocol):
    """Keeps the bytes where every gateway finds them."""

    async def begin(self, upload_id: str, video_id: str) -> str:
        """Makes ready for an upload, and gives the name that the store has for it."""
        ...

    async def writer(self, upload: PendingUpload) -> PartWriter:
        """Gives what goes on behind `upload.stored`."""
        ...

    async def assemble(self, upload: PendingUpload) -> int:
        """Makes the media of its video of what is stored, and gives its size in bytes; doing it again is fine.

        Raises:
            ObjectNotFound: The bytes are gone.
        """
        ...

    async def abort(self, upload: PendingUpload) -> None:
        """Removes what is stored; doing it again is fine."""
        ...
