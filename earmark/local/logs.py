"""Logs of the children: kept in bounded files, and given on line by line."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_FILE_BYTES = 10 * 1024 * 1024
_OLD_FILES = 2
_LONGEST_LINE = 64 * 1024
_REMEMBERED_LINES = 40

_ERRORS = frozenset({"error", "critical"})

TRACE = "exception"
"""Field of a record that holds a traceback."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a child's log, taken apart where it is JSON."""

    child: str
    time: datetime
    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, child: str, line: str) -> Record:
        """From a line as the child wrote it; one that is not JSON is an event as it stands."""
        now = datetime.now(UTC)
        if line.startswith("{"):
            try:
                content: dict[str, Any] = json.loads(line)
                event, level = str(content.pop("event")), str(content.pop("level", "info"))
                time = _time(content.pop("timestamp", None)) or now
                content.pop("service", None)
                return cls(child, time, level, event, content)
            except (ValueError, KeyError, AttributeError):
                pass
        return cls(child, now, "info", line)


Sink = Callable[[Record], None]


class LogFile:
    """A file that grows to 10 MiB, then becomes `.1`; two old ones are kept."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def write(self, line: str) -> None:
        """Adds a line."""
        block = line.encode(errors="replace") + b"\n"
        if self._size + len(block) > _FILE_BYTES:
            self._rotate()
        self._file.write(block)
        self._size += len(block)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(_OLD_FILES, 0, -1):
            younger = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if younger.exists():
                younger.replace(self._path.with_name(f"{self._path.name}.{number}"))
        self._file = self._path.open("ab", buffering=0)
        self._size = 0


class ChildLog:
    """Takes what one child writes: into its file, to the sink, and the last lines into memory."""

    def __init__(self, child: str, path: Path, sink: Sink) -> None:
        self._child = child
        self._file = LogFile(path)
        self._sink = sink
        self.last: deque[str] = deque(maxlen=_REMEMBERED_LINES)

    def line(self, line: str) -> None:
        """Takes one line."""
        self._file.write(line)
        self.last.append(line)
        self._sink(Record.read(self._child, line))

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Takes lines until the child closes its end. Lines over 64 KiB are cut into several."""
        rest = b""
        while block := await stream.read(_LONGEST_LINE):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self.line(line.decode(errors="replace"))
            if len(rest) > _LONGEST_LINE:
                self.line(rest.decode(errors="replace"))
                rest = b""
        if rest:
            self.line(rest.decode(errors="replace"))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def last_lines(path: Path, count: int = 15) -> list[str]:
    """The last lines of a log file, readable."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LONGEST_LINE))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return readable(lines, count)


def readable(lines: Sequence[str], count: int = 15) -> list[str]:
    """The last of these lines, JSON records as text, a traceback as it was."""
    shown: list[str] = []
    for line in lines[-count:]:
        record = Record.read("", line)
        fields = " ".join(f"{name}={value}" for name, value in record.fields.items() if name != TRACE)
        trace = traceback_lines(record.fields.get(TRACE))
        shown += [f"{record.level:<8}{record.event} {fields}".rstrip(), *trace[-count:]]
    return shown[-2 * count :]


def reason(lines: Sequence[str]) -> str:
    """Why a program ended, as far as its last lines say it: its last error, else its last line; empty for none."""
    records = [Record.read("", line) for line in lines if line.strip()]
    errors = [record for record in records if record.level in _ERRORS]
    if not records:
        return ""
    last = (errors or records)[-1]
    trace = traceback_lines(last.fields.get(TRACE))
    return " ".join(filter(None, (last.event, str(last.fields.get("error", "")), *trace[-1:])))


def traceback_lines(trace: Any) -> list[str]:
    """A traceback as lines, whether it was logged as text or as structlog's list of exceptions."""
    if not trace:
        return []
    if isinstance(trace, str):
        return trace.splitlines()
    lines: list[str] = []
    for error in trace:
        lines += [f"{frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in error.get("frames", ())]
        lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
    return lines


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
