"""Transcripts in files: WebVTT, SubRip, JSON, a video a line, a line of speech a line; each perhaps gzipped."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from earmark import subtitles
from earmark.client import TranscriptLine


@dataclass(frozen=True, slots=True)
class Transcript:
    """A video to make. `label` says where it stands: `file`, or `file:line`."""

    label: str
    title: str
    lines: list[TranscriptLine]
    url: str = ""
    language: str = ""
    collection: str = ""
    tags: tuple[str, ...] = ()
    duration: float | None = None
    external_id: str = ""

    @property
    def key(self) -> str:
        """The name it is imported under: its own, or a hash of all that is imported but its tags.

        The same file, wherever it lies, gives the same keys; a changed transcript gives another one.
        """
        if self.external_id:
            return self.external_id
        rows = [line.body() for line in self.lines]
        content = [self.title, self.url, self.language, self.collection, self.duration, rows]
        return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that cannot be imported."""

    label: str
    message: str


class Unreadable(Exception):
    """A file, or a part of it, is not in the form its name says."""


Found = Iterator[Transcript | Problem]
_NOT_UTF8 = "not UTF-8; convert the file, e.g. with `iconv -f latin1 -t utf8`"


@dataclass(slots=True)
class Reading:
    """How far a file is read, in bytes as they lie on the disk."""

    size: int = 0
    tell: Callable[[], int] = field(default=lambda: 0)


def is_transcript(path: Path) -> bool:
    """Whether the name says that it is a transcript."""
    return _form(path) in _FORMS


def read(path: Path, reading: Reading | None = None) -> Found:
    """Gives what a file holds, as it is read; what is wrong with a part does not keep the others back."""
    name = _name(path)
    reader = _FORMS.get(_form(path))
    if reader is None:
        yield Problem(name, f"not one of {', '.join(sorted(_FORMS))} (or such a file with .gz behind)")
        return
    try:
        with _opened(path, reading or Reading()) as file:
            yield from reader(file, path)
    except Unreadable as error:
        yield Problem(name, str(error))
    except (OSError, EOFError, zlib.error) as error:  # a broken gzip raises any of them
        yield Problem(name, getattr(error, "strerror", None) or str(error))


@contextmanager
def _opened(path: Path, reading: Reading) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        reading.size, reading.tell = path.stat().st_size, raw.tell
        if path.suffix.lower() != ".gz":
            yield raw
            return
        with gzip.open(raw, "rb") as unpacked:
            yield cast(IO[bytes], unpacked)


def _decoded(data: bytes, first_line: int = 1) -> str:
    """Gives the text of bytes. Raises Unreadable, with the number of the line, when they are not UTF-8."""
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        # `object` is what was decoded: without the mark at the beginning, if there was one.
        line = first_line + error.object.count(b"\n", 0, error.start)
        raise Unreadable(f"line {line} is {_NOT_UTF8}") from None


def _form(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _name(path: Path) -> str:
    """The name of a file, without bytes that are no text: a name may hold any."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _title(path: Path) -> str:
    name = _name(path)
    return Path(name.removesuffix(".gz").removesuffix(".GZ")).stem.replace("_", " ").strip()


def _vtt(file: IO[bytes], path: Path) -> Found:
    yield _captions(subtitles.read_vtt, file, path)


def _srt(file: IO[bytes], path: Path) -> Found:
    yield _captions(subtitles.read_srt, file, path)


def _captions(parse: Callable[[str], subtitles.Captions], file: IO[bytes], path: Path) -> Transcript:
    # A carriage return ends a line as well, alone or before a line feed.
    text = io.StringIO(_decoded(file.read()), newline=None).read()
    try:
        captions = parse(text)
    except subtitles.NotCaptions as error:
        raise Unreadable(str(error)) from error
    lines = [TranscriptLine(*line) for line in captions.lines]
    return Transcript(_name(path), _title(path), lines, language=captions.language)


def _json(file: IO[bytes], path: Path) -> Found:
    """One video, or a list of them; what speech recognizers write is read too."""
    try:
        whole = json.loads(_decoded(file.read()))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON: {error}") from error
    if not isinstance(whole, list):
        yield _video(whole, _name(path), _title(path))
        return
    for number, one in enumerate(whole):
        label = f"{_name(path)}[{number}]"
        try:
            yield _video(one, label, "")
        except Unreadable as error:
            yield Problem(label, str(error))


def _jsonl(file: IO[bytes], path: Path) -> Found:
    """A video a line, or a line of speech a line: then the rows of a video stand together."""
    group = _Group()
    name = _name(path)
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        label = f"{name}:{number}"
        try:
            row = json.loads(_decoded(line, number))
            if isinstance(row, dict) and "segments" not in row:
                yield from group.add(row, label)
            else:
                yield from group.end()
                yield _video(row, label, "")
        except (ValueError, RecursionError) as error:
            group.spoil(f"{label} is not JSON")
            yield Problem(label, f"the line is not JSON: {error}")
        except Unreadable as error:
            group.spoil(f"{label}: {error}")
            yield Problem(label, str(error))
    yield from group.end()


class _Group:
    """Rows of one video, until another begins. A broken row spoils its video: half of it would be worse than none."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._name: str | None = None
        self._label = ""
        self._title = ""
        self._language = ""
        self._lines: list[TranscriptLine] = []
        self._problem = ""

    def add(self, row: dict[str, Any], label: str) -> Found:
        """Takes a row, and gives the video before it when another begins. Raises Unreadable: it is of none."""
        name = row.get("video")
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise Unreadable("it has neither segments (a video a line) nor video (a line of speech a line)")
        _check_text(str(name), "video")
        if str(name) != self._name:
            yield from self.end()
            self._name, self._label = str(name), label
            if self._name in self._seen:
                self._problem = f"rows of {self._name!r} stood further up already; sort the file by video"
            self._seen.add(self._name)
        try:
            self._title = self._title or _text(row, "title")
            self._language = self._language or _text(row, "language")
            self._lines.append(_line(row, "the row"))
        except Unreadable as error:
            self.spoil(f"{label}: {error}")

    def spoil(self, why: str) -> None:
        """Gives up the video that is being read."""
        self._problem = self._problem or why

    def end(self) -> Found:
        """Gives the video that was being read, or what is wrong with it."""
        if self._name is not None:
            if self._problem:
                yield Problem(self._label, f"video {self._name!r} is left out: {self._problem}")
            else:
                yield Transcript(self._label, self._title or self._name, self._lines, language=self._language)
        self._name, self._title, self._language, self._lines, self._problem = None, "", "", [], ""


def _video(row: Any, label: str, title: str) -> Transcript:
    if not isinstance(row, dict) or not isinstance(row.get("segments"), list):
        raise Unreadable('a video is {"title": …, "segments": [{"start", "end", "text"}]}')
    tags = row.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Unreadable("tags must be a list of texts")
    for tag in tags:
        _check_text(tag, "tags")
    duration = row.get("duration")
    return Transcript(
        label,
        _text(row, "title") or title,
        [_line(line, f"segments[{number}]") for number, line in enumerate(row["segments"])],
        url=_text(row, "url"),
        language=_text(row, "language"),
        collection=_text(row, "collection"),
        tags=tuple(tags),
        duration=None if duration is None else _seconds(duration, "duration"),
        external_id=_text(row, "external_id"),
    )


def _line(line: Any, name: str) -> TranscriptLine:
    if not isinstance(line, dict) or not isinstance(line.get("text"), str):
        raise Unreadable(f"{name} has no text")
    _check_text(line["text"], f"text of {name}")
    start, end = (_seconds(line.get(key), f"{key} of {name}") for key in ("start", "end"))
    return TranscriptLine(start, end, line["text"], _text(line, "speaker"))


def _seconds(value: Any, name: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer of hundreds of digits
        pass
    raise Unreadable(f"{name} is no number of seconds")


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} must be a text")
    _check_text(value, name)
    return value


def _check_text(text: str, name: str) -> None:
    """Raises Unreadable where JSON named half of a character, U+D800 to U+DFFF alone, which no text can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise Unreadable(f"{name} holds half a character, {half}, which is no text") from None


_FORMS: dict[str, Callable[[IO[bytes], Path], Found]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".srt": _srt,
    ".vtt": _vtt,
}
