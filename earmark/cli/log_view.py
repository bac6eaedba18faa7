"""Logs of the whole mesh in one stream: a line a record, each service in its colour."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from earmark.local.logs import TRACE, Record, traceback_lines

_COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")
_LEVELS = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
_NAME_WIDTH = 12


class LogView:
    """A sink of log records that prints them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colours: dict[str, str] = {}

    def __call__(self, record: Record) -> None:
        """Prints one record."""
        colour = self._colours.setdefault(record.child, _COLOURS[len(self._colours) % len(_COLOURS)])
        line = Text.assemble(
            (record.time.astimezone().strftime("%H:%M:%S.%f")[:-3], "dim"),
            " ",
            (f"{record.child:<{_NAME_WIDTH}}", colour),
            " ",
            (record.event, _LEVELS.get(record.level, "")),
        )
        for name, value in record.fields.items():
            if name == TRACE:
                continue
            line.append(f" {name}=", "dim").append(str(value))
        self._console.print(line, soft_wrap=True)
        for row in traceback_lines(record.fields.get(TRACE)):
            self._console.print(Text(f"    {row}", "dim red"), soft_wrap=True)
