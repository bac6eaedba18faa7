"""Reads server-sent events out of lines (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its name (`message` when it gave none) and its data."""

    event: str
    data: str


class EventReader:
    """Feed it lines without their ends; it gives an event when one is complete."""

    def __init__(self) -> None:
        self._event = ""
        self._data: list[str] = []

    def feed(self, line: str) -> ServerSentEvent | None:
        """Takes one line. A blank one ends an event; comments (keep-alives) are skipped."""
        if not line:
            return self._complete()
        if line.startswith(":"):
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        return None

    def _complete(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        if not event and not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data))
