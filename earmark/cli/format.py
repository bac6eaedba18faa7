"""How times, sizes, states and found text look."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from earmark.client import Highlight

_COLOURS = {
    "ready": "green",
    "serving": "green",
    "processing": "cyan",
    "uploaded": "cyan",
    "starting": "cyan",
    "failed": "red",
    "crashed": "red",
    "deleting": "yellow",
    "stopping": "yellow",
}


def clock(seconds: float | None) -> str:
    """Seconds as `1:23` or `1:02:03`, cut off as a player shows them; `-` for None."""
    if seconds is None:
        return "-"
    whole = int(max(0.0, seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def size(count: int | None) -> str:
    """Bytes for people, in powers of 1000; `-` for None."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=_COLOURS.get(name, ""))


def marked(
    text: str,
    highlights: Sequence[Highlight],
    *,
    width: int = 0,
    begin: int | None = None,
    style: str = "bold yellow",
) -> Text:
    """Text with its found words marked; with a width, cut to about that many characters.

    These begin at `begin`, where that is given, and otherwise lie around the first of the found words.
    """
    start, end = 0, len(text)
    if width and begin is not None:
        start, end = begin, _end_of_word(text, begin + width)
    elif width and len(text) > width:
        centre = highlights[0].start if highlights else 0
        start = max(0, min(centre - width // 3, len(text) - width))
        end = min(len(text), start + width)
        # Not in the middle of a word.
        start = text.rfind(" ", 0, start + 1) + 1 if start else 0
        end = _end_of_word(text, end)
    head, tail = ("… " if start else ""), (" …" if end < len(text) else "")
    shown = Text(f"{head}{text[start:end]}{tail}")
    for mark in highlights:
        first, last = max(mark.start, start), min(mark.end, end)
        if first < last:
            shown.stylize(style, first - start + len(head), last - start + len(head))
    return shown


def _end_of_word(text: str, at: int) -> int:
    space = text.find(" ", at)
    return space if space >= 0 else len(text)


def seconds(value: float) -> str:
    """A duration of work, e.g. `8.3 s` or `4:05 min`."""
    return f"{value:.1f} s" if value < 60 else f"{clock(value)} min"


def time_left(seconds: float) -> str:
    """What is still to go, as roughly as it is known."""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 90:
        return f"about {round(seconds / 10) * 10} s left"
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes < 90 else f"about {seconds / 3600:.1f} h left"
