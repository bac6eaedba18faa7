"""Reads a multipart form while it arrives; the file's bytes are handed on, never gathered."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import ParseFailedException, UnexpectedPartException
from streaming_form_data.targets import BaseTarget

from services.common.errors import InvalidArgument, UnsupportedMediaType
from services.gateway.access.caller import caller
from services.gateway.attributes import checked_collection, checked_speech, checked_tags, checked_title
from services.gateway.digests import checked_sha256, of_body
from services.gateway.http.tus import checked_duplicate
from services.gateway.uploads import Details, check_captions_size

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


class _Captions(BaseTarget):  # type: ignore[misc]  # the library has no types
    """A transcript that comes with the file."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def on_start(self) -> None:
        self.data.clear()

    def on_data_received(self, chunk: bytes) -> None:
        check_captions_size(len(self.data) + len(chunk))
        self.data += chunk

    def on_finish(self) -> None:
        # A browser sends a part without a name where no file was chosen.
        if not self.data and self.multipart_filename != "":
            raise InvalidArgument(
                "the captions are empty; give WebVTT, SubRip or JSON with something said in it, or no captions at all "
                "to have the speech recognized",
                field="captions",
            )


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


_SPEECH = ("language", "prompt", "hotwords", "task")
_TEXTS: dict[str, Callable[[list[str]], object]] = {
    "title": lambda texts: checked_title(texts[-1]),
    "collection": lambda texts: caller().place(checked_collection(texts[-1])),
    "tag": checked_tags,
    # Whether anything is to be heard is known later: captions may follow.
    "language": lambda texts: checked_speech(language=texts[-1], heard=False),
    "prompt": lambda texts: checked_speech(prompt=texts[-1]),
    "hotwords": lambda texts: checked_speech(hotwords=texts[-1]),
    "task": lambda texts: checked_speech(task=texts[-1]),
    "sha256": lambda texts: checked_sha256(texts[-1]),
    "duplicate": lambda texts: checked_duplicate(texts[-1]),
}
"""The text parts, and what refuses wrong ones."""
_PARTS = ("file", *_TEXTS, "captions")


class UploadForm:
    """A form with a `file`, perhaps `captions`, and a text part for each of `_TEXTS`; `tag` any number of times.

    One of another name is refused: a hint that is misspelt would be lost without a word.

    Raises:
        UnsupportedMediaType: The body is no multipart form.
        InvalidArgument: It cannot be taken apart.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._expected = of_body(request.headers)
        self._digest = hashlib.new(self._expected.algorithm) if self._expected else None
        self._file = _File()
        self._texts = {name: _Text(name, check) for name, check in _TEXTS.items()}
        kind = request.headers.get("content-type", "")
        if kind.split(";", 1)[0].strip().lower() != "multipart/form-data":
            raise UnsupportedMediaType(
                "send it as multipart/form-data with a part named file, as curl -F file=@talk.mp4 does", field="file"
            )
        try:
            self._parser = StreamingFormDataParser(headers={"Content-Type": kind}, strict=True)
        except ParseFailedException:
            raise _no_form("its Content-Type has no boundary; a client that makes the form sets it") from None
        self._parser.register("file", self._file)
        self._captions = _Captions()
        self._parser.register("captions", self._captions)
        for name, text in self._texts.items():
            self._parser.register(name, text)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Gives the file's bytes as they come, then reads the form to its end.

        Raises:
            InvalidArgument: The form is broken, ends early, has no file, or one of its texts is wrong.
        """
        async for data in self._request.stream():
            if not data:
                continue
            if self._digest is not None:
                self._digest.update(data)
            self._feed(data)
            if self._file.blocks:
                self._check_language()
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
        last = {name: text.last for name, text in self._texts.items()}
        return Details(
            title=last["title"],
            filename=self._file.multipart_filename or "",
            content_type=self._file.multipart_content_type or "",
            collection=last["collection"],
            tags=self._texts["tag"].texts,
            speech=checked_speech(**{name: last[name] for name in _SPEECH}, heard=not self._captions.data),
            captions=bytes(self._captions.data),
            sha256=checked_sha256(last["sha256"]),
            duplicate=checked_duplicate(last["duplicate"]),
        )

    def check(self) -> None:
        """Compares the body with the checksum in its head, once it is read. Raises ChecksumMismatch."""
        if self._expected is not None and self._digest is not None:
            self._expected.check(self._digest.digest(), "the body")

    def _check_language(self) -> None:
        """Refuses a language no recognizer knows, unless there are captions, before the file is stored."""
        if not self._captions.data and self._texts["language"].last:
            checked_speech(language=self._texts["language"].last)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.data_received(data)
        except UnexpectedPartException as error:
            name = str(error.part_name)[:40]
            raise InvalidArgument(f"there is no field {name!r}; there are {', '.join(_PARTS)}", field=name) from None
        except ParseFailedException:
            raise _no_form("its parts cannot be told apart; check the boundary") from None


def _no_form(why: str, reason: str | None = None) -> InvalidArgument:
    return InvalidArgument(f"the body cannot be read: {why}", reason=reason, field="file")
