"""Text with times: the pieces a transcript may be cut between, and when each is said."""

from __future__ import annotations

import bisect
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.common.transcript import Segment, Word

SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x9FFF),  # CJK radicals, kana, ideographs, their punctuation
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),
)
"""Unicode blocks of scripts that are written without spaces between words."""

HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF))
"""Korean has spaces, but recognizers leave them out at times."""
LONGEST_HANGUL_WORD = 12
"""A longer run of Hangul is several words, in code points."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is never cut: a word, or a character where words are not marked.

    Attributes:
        text: The text, without white space around it.
        start: When it begins, seconds.
        end: When it ends, seconds.
        spaced: Whether a space stands before it when it follows another unit.
        opens_segment: Whether it is the first of a recognizer's segment.
        speaker: Who says it; empty when unknown.
        language: Of the text; empty where it is that of the slice.
    """

    text: str
    start: float
    end: float
    spaced: bool
    opens_segment: bool
    speaker: str = ""
    language: str = ""


def join(units: Iterable[Unit]) -> str:
    """Gives the text of consecutive units."""
    parts: list[str] = []
    for unit in units:
        if parts and unit.spaced:
            parts.append(" ")
        parts.append(unit.text)
    return "".join(parts)


def units_of(segments: Sequence[Segment]) -> list[Unit]:
    """Cuts segments into units whose times never run backwards.

    Times come from the segment's words where it has them, else they are spread over the segment's characters.
    """
    units: list[Unit] = []
    clock = 0.0
    for segment in segments:
        text = " ".join(segment.text.split())
        times = _Times(text, segment)
        opens = True
        for start, end in _pieces(text, times.word_starts):
            begin = max(times.of_start(start), clock)
            finish = max(times.of_end(end), begin)
            if opens:
                spaced = bool(units) and not (_is_spaceless(units[-1].text[-1]) and _is_spaceless(text[0]))
            else:
                spaced = text[start - 1] == " "
            units.append(Unit(text[start:end], begin, finish, spaced, opens, segment.speaker, segment.language))
            # Overlapping speakers make a word start before its predecessor ends; only starts must not run backwards.
            clock, opens = begin, False
    return units


def _pieces(text: str, word_starts: set[int]) -> list[tuple[int, int]]:
    """Gives the code point ranges of the units of `text`, which has single spaces only."""
    pieces: list[tuple[int, int]] = []
    position = 0
    for token in text.split(" "):
        if token:
            cuts = [0, *_inner_cuts(token, position, word_starts), len(token)]
            pieces += [(position + a, position + b) for a, b in itertools.pairwise(cuts)]
        position += len(token) + 1
    return pieces


def _inner_cuts(token: str, position: int, word_starts: set[int]) -> list[int]:
    """Gives where a token without spaces may be cut: at its words where they are known, else between characters."""
    long_hangul = len(token) > LONGEST_HANGUL_WORD and sum(_within(char, HANGUL) for char in token) > len(token) // 2
    candidates = [
        index
        for index in range(1, len(token))
        if (long_hangul or _is_spaceless(token[index - 1]) or _is_spaceless(token[index])) and _may_begin(token[index])
    ]
    at_words = [index for index in candidates if position + index in word_starts]
    after_sentences = [index for index in candidates if _ends_sentence(token[max(index - 3, 0) : index])]
    return sorted({*at_words, *after_sentences}) if at_words else candidates


def _may_begin(char: str) -> bool:
    """Whether a unit may begin with `char`: not with a mark or punctuation that belongs to what is before it."""
    category = unicodedata.category(char)
    return category[0] != "M" and category not in {"Pe", "Pf", "Po", "Pd"} and char not in "ーゝゞ々"


def _ends_sentence(text: str) -> bool:
    return text.rstrip("」』）】”’").endswith(("。", "！", "？", "｡"))


def _is_spaceless(char: str) -> bool:
    return _within(char, SPACELESS)


def _within(char: str, blocks: tuple[tuple[int, int], ...]) -> bool:
    point = ord(char)
    return any(low <= point <= high for low, high in blocks)


class _Times:
    """Tells when each character of a segment's text is said."""

    def __init__(self, text: str, segment: Segment) -> None:
        spans = _align(text, segment.words) or [(0, len(text), segment.start, segment.end)]
        self._begins = [span[0] for span in spans]
        self._spans = spans
        self.word_starts = {span[0] for span in spans}

    def of_start(self, offset: int) -> float:
        """Gives when the character at `offset` begins."""
        span = max(bisect.bisect_right(self._begins, offset) - 1, 0)
        begin, finish, start, end = self._spans[span]
        if offset >= finish and span + 1 < len(self._spans):
            return self._spans[span + 1][2]  # in no word: with the next one
        return _between(offset, begin, finish, start, end)

    def of_end(self, offset: int) -> float:
        """Gives when the character before `offset` ends."""
        span = max(bisect.bisect_left(self._begins, offset) - 1, 0)
        begin, finish, start, end = self._spans[span]
        return _between(offset, begin, finish, start, end)


def _between(offset: int, begin: int, finish: int, start: float, end: float) -> float:
    share = (offset - begin) / max(finish - begin, 1)
    return start + min(max(share, 0.0), 1.0) * (end - start)


def _align(text: str, words: Sequence[Word]) -> list[tuple[int, int, float, float]]:
    """Finds each word in the text, in order: (first code point, one past the last, start, end).

    Words that are not found are left out.
    """
    spans: list[tuple[int, int, float, float]] = []
    position = 0
    for word in words:
        wanted = word.text.strip()
        if not wanted:
            continue
        found = text.find(wanted, position)
        # A word found far away is another occurrence of a word that the text does not have here.
        if found < 0 or found - position > 40:
            continue
        position = found + len(wanted)
        spans.append((found, position, word.start, max(word.end, word.start)))
    return spans
