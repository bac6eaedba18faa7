"""Reads a multipart form while it arrives; the file's bytes are handed on, never gathered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import ParseFailedException
from streaming_form_data.targets import BaseTarget

from services.common.errors import InvalidArgument
from services.gateway.attributes import checked_collection, checked_tags, checked_title
from services.gateway.uploads import Details

MAX_FIELD_BYTES = 16 * 1024
"""Of all parts of one name together."""


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
    """Short text parts of one name. What is wrong with one is told when it ends: the file may come behind it."""

    def __init__(self, name: str, check: Callable[[list[str]], object]) -> None:
        super().__init__()
        self._name = name
        self._check = check
        self._bytes = 0
        self._data = bytearray()
        self.texts: list[str] = []

    def on_start(self) -> None:
        self._data.clear()

    def on_data_received(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > MAX_FIELD_BYTES:
            raise InvalidArgument(f"{self._name} is over {MAX_FIELD_BYTES} bytes", field=self._name)
        self._data += chunk

    def on_finish(self) -> None:
        self.texts.append(self._data.decode("utf-8", "replace"))
        self._check(self.texts)

    @property
    def last(self) -> str:
        """The text, or the last where there are several; empty where there is none."""
        return self.texts[-1] if self.texts else ""


class UploadForm:
    """A form with a `file` and perhaps `title`, `collection` and any number of `tag`, in any order.

    Parts of other names are passed over.

    Raises:
        InvalidArgument: The body is no multipart form.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._file = _File()
        self._title = _Text("title", lambda texts: checked_title(texts[-1]))
        self._collection = _Text("collection", lambda texts: checked_collection(texts[-1]))
        self._tags = _Text("tag", checked_tags)
        try:
            self._parser = StreamingFormDataParser(headers={"Content-Type": request.headers.get("content-type", "")})
        except ParseFailedException:
            raise _no_form(
                "send it as multipart/form-data with a part named file, as curl -F file=@talk.mp4 does"
            ) from None
        self._parser.register("file", self._file)
        self._parser.register("title", self._title)
        self._parser.register("collection", self._collection)
        self._parser.register("tag", self._tags)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Gives the file's bytes as they come, then reads the form to its end.

        Raises:
            InvalidArgument: The form is broken, ends early, has no file, or one of its texts is wrong.
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
            title=self._title.last,
            filename=self._file.multipart_filename or "",
            content_type=self._file.multipart_content_type or "",
            collection=self._collection.last,
            tags=self._tags.texts,
        )

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.data_received(data)
        except ParseFailedException:
            raise _no_form("its parts cannot be told apart; check the boundary") from None


def _no_form(why: str, reason: str | None = None) -> InvalidArgument:
    return InvalidArgument(f"the body cannot be read: {why}", reason=reason, field="file")
