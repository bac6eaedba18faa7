"""A multipart upload as a stream of known length, so that no file is ever whole in memory."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

Fields = Iterable[tuple[str, str | bytes]]
Progress = Callable[[int, int], None]
"""Called with (bytes of the file sent, bytes in all), first with 0 and last with all."""

# Large reads: a quarter of the system calls and of the event-loop turns of httpx's own 64 KiB.
_READ_BYTES = 256 * 1024


class FileUpload:
    """One upload of a file and a few texts about it; iterate it (plainly or asynchronously) once to get the body.

    Args:
        file: readable in binary and seekable; sent from its present position.
        filename: name to give the gateway.
        fields: names and texts (or their bytes, as they are) that go before the file.
        progress: told after each block.
    """

    def __init__(
        self, file: IO[bytes], *, filename: str, fields: Fields = (), progress: Progress | None = None
    ) -> None:
        self._file = file
        self._progress = progress
        self._boundary = secrets.token_hex(16)
        start = file.tell()
        self._size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        content_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        # The texts go first: a gateway that streams refuses a wrong one before the first byte of the file.
        self._head = b"".join(
            self._part(f'form-data; name="{name}"') + (text.encode() if isinstance(text, str) else text) + b"\r\n"
            for name, text in fields
        )
        self._head += self._part(f'form-data; name="file"; filename="{_quoted(filename)}"', content_type)
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, fields: Fields = (), progress: Progress | None = None) -> Self:
        """An upload of a file on disk; close it after use."""
        return cls(Path(path).open("rb"), filename=Path(path).name, fields=fields, progress=progress)

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that describe the body."""
        length = len(self._head) + self._size + len(self._tail)
        return {"content-type": f"multipart/form-data; boundary={self._boundary}", "content-length": str(length)}

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        """The body, block by block."""
        yield self._head
        left = self._size
        self._tell(left)
        while left:
            block = self._block(left)
            yield block
            left -= len(block)
            self._tell(left)
        yield self._tail

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, block by block, read in a thread."""
        yield self._head
        left = self._size
        self._tell(left)
        while left:
            block = await asyncio.to_thread(self._block, left)
            yield block
            left -= len(block)
            self._tell(left)
        yield self._tail

    def _block(self, left: int) -> bytes:
        block = self._file.read(min(_READ_BYTES, left))
        if not block:
            raise OSError("the file became shorter while it was being uploaded")
        return block

    def _tell(self, left: int) -> None:
        if self._progress:
            self._progress(self._size - left, self._size)

    def _part(self, disposition: str, content_type: str | None = None) -> bytes:
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        return f"--{self._boundary}\r\nContent-Disposition: {disposition}\r\n{kind}\r\n".encode()


def _quoted(filename: str) -> str:
    # As browsers do (WHATWG form-data): only these three are escaped, everything else is sent as UTF-8.
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
