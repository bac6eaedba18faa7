"""Reads a multipart form while it arrives; the file's bytes are handed on, never gathered."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import ParseFailedException
from streaming_form_data.targets import BaseTarget

from services.common.errors import InvalidArgument
from services.gateway.uploads import Details

MAX_FIELD_BYTES = 16 * 1024


class _File(BaseTarget):  # type: ignore[misc]  # the library has no types
    """The part with the media."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[bytes] = []
        self.parts = 0
        self.finished = False

    def on_start(self) -> None:
        self.parts += 1

    def on_data_received(self, chunk: bytes) -> None:
        if self.parts == 1:
            self.blocks.append(chunk)

    def on_finish(self) -> None:
        self.finished = True


class _Text(BaseTarget):  # type: ignore[misc]  # the library has no types
    """A short text part."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._data = bytearray()

    def on_data_received(self, chunk: bytes) -> None:
        if len(self._data) + len(chunk) > MAX_FIELD_BYTES:
            raise InvalidArgument(f"{self._name} is over {MAX_FIELD_BYTES} bytes", field=self._name)
        self._data += chunk

    @property
    def text(self) -> str:
        return self._data.decode("utf-8", "replace")


class UploadForm:
    """A form with a `file` and perhaps a `title`, in any order; parts of other names are passed over.

    Raises:
        InvalidArgument: The body is no multipart form.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._file = _File()
        self._title = _Text("title")
        try:
            self._parser = StreamingFormDataParser(headers={"Content-Type": request.headers.get("content-type", "")})
        except ParseFailedException:
            raise _no_form(
                "send it as multipart/form-data with a part named file, as curl -F file=@talk.mp4 does"
            ) from None
        self._parser.register("file", self._file)
        self._parser.register("title", self._title)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Gives the file's bytes as they come, then reads the form to its end.

        Raises:
            InvalidArgument: The form is broken, ends early, or has no file.
        """
        async for data in self._request.stream():
            if not data:
                continue
            self._feed(data)
            for block in self._file.blocks:
                yield block
            self._file.blocks.clear()
        if not self._file.parts:
            raise InvalidArgument("the form has no part named file", field="file")
        if not self._file.finished:
            raise _no_form("the form ends before its file does; upload again", reason="UPLOAD_INCOMPLETE")
        if self._file.parts > 1:
            raise InvalidArgument("the form has several files; upload them one by one", field="file")

    def details(self) -> Details:
        """Gives what the form says of the file, once it is read."""
        return Details(
            title=self._title.text,
            filename=self._file.multipart_filename or "",
            content_type=self._file.multipart_content_type or "",
        )

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.data_received(data)
        except ParseFailedException:
            raise _no_form("its parts cannot be told apart; check the boundary") from None


def _no_form(why: str, reason: str | None = None) -> InvalidArgument:
    return InvalidArgument(f"the body cannot be read: {why}", reason=reason, field="file")
