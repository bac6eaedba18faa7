"""An upload that goes on where it broke off, by the tus protocol: the rules the sync and the async client share."""

from __future__ import annotations

import base64
import mimetypes
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import httpx

from earmark.client.errors import (
    ApiError,
    ConnectionFailed,
    EarmarkClientError,
    Overloaded,
    ProtocolError,
    Timeout,
    Unavailable,
    from_response,
)
from earmark.client.multipart import Progress

FILES_PATH = "/v1/files"
LEAST_BYTES = 8 * 1024 * 1024
"""A smaller file is quicker sent again than gone on with."""
READ_BYTES = 256 * 1024
_TUS = {"Tus-Resumable": "1.0.0"}
_PASSING = (ConnectionFailed, Unavailable, Overloaded, Timeout)
_PASSING_REASONS = {"UPLOAD_LOCKED", "OFFSET_CONFLICT", "LEASE_LOST"}
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 8.0


class Transfer:
    """State of one upload over its connections.

    Args:
        file: readable in binary and seekable; sent from its present position.
        filename: name to give the gateway.
        said: names and texts of what is said of it; a name may come often.
        progress: told of each block.
        patience: seconds without any byte getting further after which it gives up.
        location: URL or path of an upload to go on with; None begins one.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        filename: str,
        said: Iterable[tuple[str, str]],
        progress: Progress | None,
        patience: float,
        location: str | None = None,
    ) -> None:
        self._file = file
        self._start = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self._start
        file.seek(self._start)
        self._progress = progress
        self._patience = patience
        self._waited = 0.0
        self._delay = _FIRST_DELAY
        self.location = location
        self.offset = 0
        self._key = str(uuid.uuid4())
        self.video_id: str | None = None
        self.existing = False
        kind = mimetypes.guess_type(filename)[0] or ""
        self._filename = base64.b64encode(filename.encode()).decode()
        texts: dict[str, list[str]] = {"filename": [filename], "filetype": [kind]}
        for name, text in said:
            texts.setdefault("tags" if name == "tag" else name, []).append(text)
        self._metadata = ",".join(
            f"{name} {base64.b64encode(','.join(values).encode()).decode()}"
            for name, values in texts.items()
            if any(values)
        )

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    @property
    def creation(self) -> dict[str, str]:
        """Headers of the request that begins it."""
        length = {"Upload-Length": str(self.size), "Upload-Metadata": self._metadata}
        return {**_TUS, **length, "Idempotency-Key": self._key}

    @property
    def look(self) -> dict[str, str]:
        """Headers of the request that asks how far it is."""
        return dict(_TUS)

    @property
    def appending(self) -> dict[str, str]:
        """Headers of the request that goes on."""
        return {
            **_TUS,
            "Upload-Offset": str(self.offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self.size - self.offset),
        }

    def seek(self) -> None:
        """Makes ready to read from where it goes on."""
        self._file.seek(self._start + self.offset)
        self._tell(self.offset)

    def block(self, sent: int) -> bytes:
        """The next block of the file, `sent` bytes behind where this request began; empty at the end."""
        left = self.size - self.offset - sent
        block = self._file.read(min(READ_BYTES, left)) if left else b""
        if left and not block:
            raise OSError("the file became shorter while it was being uploaded")
        self._tell(self.offset + sent + len(block))
        return block

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def begun(self, response: httpx.Response) -> None:
        """Takes the answer to the creation."""
        _check(response)
        self.location = response.headers.get("location")
        if not self.location:
            raise ProtocolError(f"{response.request.url} did not answer as an Earmark gateway does.")

    def looked(self, response: httpx.Response) -> None:
        """Takes the answer to the question how far it is; one that is gone is begun anew."""
        if response.status_code in {404, 410} and self.offset == 0:
            self.location = None
            return
        _check(response)
        self._compare(response.headers)
        self.took(response)

    def _compare(self, headers: httpx.Headers) -> None:
        """Refuses to go on with an upload of another file, as far as its name and size tell. Raises."""
        told = dict(pair.split(" ", 1) for pair in headers.get("upload-metadata", "").split(",") if " " in pair)
        named = told.get("filename", self._filename) == self._filename
        if named and headers.get("upload-length", str(self.size)) == str(self.size):
            return
        name = base64.b64decode(told.get("filename", "")).decode(errors="replace")
        size = headers.get("upload-length", "unknown")
        raise EarmarkClientError(
            f"{self.location} is an upload of another file: {name or 'without a name'}, {size} bytes. Begin anew.",
            reason="OTHER_FILE",
            status="FAILED_PRECONDITION",
        )

    def took(self, response: httpx.Response) -> None:
        """Takes an answer that says how far it is."""
        _check(response)
        try:
            offset = int(response.headers["upload-offset"])
        except (KeyError, ValueError) as error:
            raise ProtocolError(f"{response.request.url} did not answer as an Earmark gateway does.") from error
        if offset > self.offset:
            self._waited, self._delay = 0.0, _FIRST_DELAY
        self.offset = offset
        self.video_id = response.headers.get("earmark-video-id")
        self.existing = response.headers.get("earmark-existing") == "true"

    @property
    def done(self) -> bool:
        """Whether it has become a video."""
        return self.video_id is not None

    def delay(self, error: EarmarkClientError) -> float:
        """Seconds to wait before it goes on.

        Raises:
            EarmarkClientError: `error`, when it will not pass or has lasted too long.
        """
        passing = isinstance(error, _PASSING) or error.reason in _PASSING_REASONS
        if not passing or self.location is None or self._waited >= self._patience:
            raise error
        delay = max(self._delay, error.retry_after or 0.0) if isinstance(error, ApiError) else self._delay
        self._waited += delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return delay

    def _tell(self, sent: int) -> None:
        if self._progress:
            self._progress(sent, self.size)


def _check(response: httpx.Response) -> None:
    if not response.is_success:
        raise from_response(response)


def said_of(fields: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str]] | None:
    """What a form says of a file, for the head of a request; None where it has no room there, as captions."""
    said = [(name, text) for name, text in fields if isinstance(text, str)]
    whole = all(name != "captions" for name, _ in fields)
    # Between tags stands a comma.
    return said if whole and not any(name == "tag" and "," in text for name, text in said) else None


def opened(file: str | os.PathLike[str] | IO[bytes], filename: str) -> tuple[IO[bytes], str]:
    """A file, opened, and the name to give it."""
    if isinstance(file, str | os.PathLike):
        return Path(file).open("rb"), filename or Path(file).name
    return file, filename or "video"
