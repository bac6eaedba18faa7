"""How the text of a cue is broken into lines: at most 42 columns, two where it can be, broken where a clause ends."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

LINE_COLUMNS = 42
WIDE_COLUMNS = 2.6
LINES = 2
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)」』）]*$")
BREAK_AFTER = re.compile(r"[.!?…,;:–—。！？、，；：][\"'”’»)」』）]*$")
NEVER_FIRST = frozenset("。、，．！？；：」』）】〉》ーゝゞ々ぁぃぅぇぉっゃゅょァィゥェォッャュョ,.!?;:)…%")


def _small_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Small words that begin a phrase, and such as belong to what follows them: a line that ends behind those reads badly.
OPENERS = _small_words(
    "and but or nor so because that which who when where while if although though as than with from into about after "
    "before until und oder aber weil dass wenn et ou mais que qui parce quand y o pero porque cuando e ma"
)
CLINGING = _small_words(
    "a an the my your his her its our their this these those to of in on at by for is are was were be very not der die "
    "das ein eine im am le la les un une des de du el los las una il lo gli i mr. mrs. ms. dr."
)
# Behind the dash of a speaker stands a word: neither a number, as in a range, nor another dash.
_WORD_FOLLOWS = r"(?=[^-‐–—\s\d])"
_DASH = re.compile(rf"[-‐–—]\s?{_WORD_FOLLOWS}")


def broken(text: str) -> list[str]:
    """Breaks a text into lines of at most 42 columns; two lines where it can be, broken where a clause ends.

    Of two who talk, each behind a dash, each has a line.
    """
    if (dialogue := _dialogue(text)) is not None:
        return dialogue
    if columns(text) <= LINE_COLUMNS:
        return [text]
    units = _units(text)
    if (cut := _best_cut(units)) is not None:
        return ["".join(units[:cut]).strip(), "".join(units[cut:]).strip()]
    lines = [""]
    for unit in units:
        if lines[-1] and columns(lines[-1] + unit.rstrip()) > LINE_COLUMNS:
            lines.append("")
        lines[-1] += unit
    return [line.strip() for line in lines]


def _best_cut(units: Sequence[str]) -> int | None:
    """Gives the unit that begins the second line; None where two lines do not hold all."""
    widths = list(itertools.accumulate(map(columns, units), initial=0.0))
    best: tuple[float, int] | None = None
    for cut in range(1, len(units)):
        upper = widths[cut] - (1 if units[cut - 1].endswith(" ") else 0)
        lower = widths[-1] - widths[cut]
        if upper > LINE_COLUMNS or lower > LINE_COLUMNS:
            continue
        # A little rather the lower line the longer one.
        cost = abs(upper - lower) / LINE_COLUMNS + (0.1 if upper > lower else 0.0)
        last = units[cut - 1].rstrip()
        if SENTENCE_END.search(last) or BREAK_AFTER.search(last):
            cost -= 0.5
        elif bare(units[cut]) in OPENERS:
            cost -= 0.25
        elif bare(last) in CLINGING:
            cost += 0.3
        if units[cut][0] in NEVER_FIRST:
            cost += 5
        if best is None or cost < best[0]:
            best = (cost, cut)
    return None if best is None else best[1]


def _dialogue(text: str) -> list[str] | None:
    """Gives the lines of two who talk in one cue, each behind a dash; None where it is none or does not fit."""
    opening = _DASH.match(text)
    if opening is None:
        return None
    starts = [found.start() + 1 for found in re.finditer(rf"\s{re.escape(opening[0])}{_WORD_FOLLOWS}", text)]
    if len(starts) > 1:  # some are dashes within what one says
        starts = [start for start in starts if SENTENCE_END.search(text[:start].rstrip())]
    if len(starts) != 1:
        return None
    lines = [text[: starts[0]].rstrip(), text[starts[0] :]]
    return lines if all(columns(line) <= LINE_COLUMNS for line in lines) else None


def _units(text: str) -> list[str]:
    """Gives the smallest pieces a line may be broken between: words, or single characters of wide scripts."""
    units: list[str] = []
    for piece in re.findall(r"\S+\s*", text):
        if columns(piece.rstrip()) == len(piece.rstrip()) and len(piece) <= LINE_COLUMNS:
            units.append(piece)
        else:
            units += list(piece)
    return units


def bare(text: str) -> str:
    """Gives a word without what stands around it, in small letters."""
    return text.strip(" \"'“”‘’(«").lower()


def columns(text: str) -> float:
    """Gives the width of a text: a wide character takes the place of more than two, and a combining one none.

    So a line holds 16 characters of Chinese or Japanese, as guides to captions ask.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else WIDE_COLUMNS if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
