"""Reads WebVTT and SubRip."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# No more hours than a number holds; what is too many for a transcript is told by whoever takes it.
_TIME = r"(?:(\d{1,9}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>|</v>")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_INNER_TIME = re.compile(r"<\d+:\d{2}[:.\d]*>")
_LANGUAGE = re.compile(r"Language:\s*([A-Za-z]{2,3})\b", re.IGNORECASE)
# In WebVTT a row with a blank in it is text, and automatic captions have such; SubRip has no rule.
_EMPTY_ROWS = re.compile(r"(?:\r?\n){2,}")
_BLANK_ROWS = re.compile(r"(?:\r?\n[ \t]*){2,}")
_NO_CUES = ("NOTE", "STYLE", "REGION")

OWN_WORD_TIMES = "- word by word"
"""Behind WEBVTT in files of ours that have the time of each word."""


class NotCaptions(Exception):
    """The text is not in this form."""


class Line(NamedTuple):
    """A stretch of speech: seconds, what is said, and who says it (empty when unknown)."""

    start: float
    end: float
    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Captions:
    """What a file of captions says. `language` is ISO 639-1, empty when unknown."""

    lines: list[Line]
    language: str = ""


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    rows: list[str]


def read_vtt(text: str) -> Captions:
    """Reads WebVTT; voice tags (`<v Ann>`) name the speakers.

    Raises:
        NotCaptions: it is none.
    """
    if not text.startswith("WEBVTT"):
        raise NotCaptions("it does not begin with WEBVTT")
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    found = _LANGUAGE.search(head)
    cues = list(_cues(text, _EMPTY_ROWS))
    # Our own files with times within have each cue once, however often the same is said.
    if _INNER_TIME.search(text) and not text.startswith(f"WEBVTT {OWN_WORD_TIMES}"):
        cues = _unrolled(cues)
    return Captions([line for cue in cues for line in _voices(cue)], found[1].lower() if found else "")


def read_srt(text: str) -> Captions:
    """Reads SubRip.

    Raises:
        NotCaptions: it is none.
    """
    said = ((cue, _plain(" ".join(cue.rows))) for cue in _cues(text, _BLANK_ROWS))
    return Captions([Line(cue.start, cue.end, plain) for cue, plain in said if plain])


def _cues(text: str, apart: re.Pattern[str]) -> Iterator[_Cue]:
    number = 0
    found = False
    for block in apart.split(text):
        rows = block.splitlines()
        at = next((index for index, row in enumerate(rows[:2]) if "-->" in row), None)
        if at is None or rows[0].startswith(_NO_CUES):
            continue
        number += 1
        times = _TIMING.fullmatch(rows[at])
        if times is None:
            raise NotCaptions(f"the times of cue {number} cannot be read: {rows[at][:80]!r}")
        found = True
        yield _Cue(
            _seconds(times.groups()[:4]), _seconds(times.groups()[4:]), [row for row in rows[at + 1 :] if row.strip()]
        )
    if not found:
        raise NotCaptions("it has no cues, such as `00:00:01.000 --> 00:00:02.500`")


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _unrolled(cues: list[_Cue]) -> list[_Cue]:
    """Leaves out what automatic captions show twice: the row before stays on the screen while the next is said."""
    kept: list[_Cue] = []
    last = ""
    for cue in cues:
        rows = cue.rows[1:] if cue.rows and last and _plain(cue.rows[0]) == last else cue.rows
        if cue.rows:
            last = _plain(cue.rows[-1])
        if rows:
            kept.append(_Cue(cue.start, cue.end, rows))
    return kept


def _voices(cue: _Cue) -> Iterator[Line]:
    """Gives what each voice of a cue says; several share its time by the length of their words."""
    text = " ".join(cue.rows)
    parts: list[tuple[str, str]] = []
    speaker, at = "", 0
    for tag in _VOICE.finditer(text):
        parts.append((speaker, text[at : tag.start()]))
        speaker, at = html.unescape(tag[1] or "").strip(), tag.end()
    parts.append((speaker, text[at:]))
    said = [(who, plain) for who, part in parts if (plain := _plain(part))]
    letters = sum(len(plain) for _, plain in said)
    start = cue.start
    for who, plain in said:
        end = start + (cue.end - cue.start) * len(plain) / letters
        yield Line(round(start, 3), round(end, 3), plain, who)
        start = end


def _plain(text: str) -> str:
    return " ".join(html.unescape(_MARKUP.sub("", text)).split())
