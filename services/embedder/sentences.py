"""Where sentences end, and where a long one may be cut."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.embedder.timed_text import Unit

PAUSE_SECONDS = 2.0
"""Silence that ends a sentence even where the recognizer set no full stop."""

_CLOSERS = "\"'”’»)]}」』）】〉》*"
_ALWAYS = "。！？｡…؟۔।॥።။។"
"""Ends of sentences in scripts without capital letters."""
_USUALLY = ".?!"
_CLAUSE = ",;:—–、，；：،؛"
_ABBREVIATIONS = frozenset(
    "mr|mrs|ms|dr|prof|st|vs|approx|dept|gen|lt|sgt|capt|rev|cf|mme|mlle|sra|srta|bzw".split("|")  # noqa: SIM905
)
_BEFORE_NUMBERS = frozenset("no|nos|nr|núm|fig|figs|eq|sec|vol|ch|p|pp|pág|art|abb".split("|"))  # noqa: SIM905
"""Abbreviations before a number, and words of their own before anything else."""
_INITIAL = re.compile(r"^\W*[^\W\dIi]\.$")
_SPELLED = re.compile(r"^\W*(?:[^\W\d]\.){2,}$")
_ORDINAL = re.compile(r"^\W*\d{1,2}\.$")
_ORDINAL_LANGUAGES = frozenset(
    {"cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "nn", "no", "pl", "sk", "sl"}
)
"""Languages that write "3." for "third"."""


def sentences_of(units: Sequence[Unit], language: str) -> list[list[Unit]]:
    """Groups units into sentences, in order.

    Args:
        units: Units of a transcript.
        language: ISO 639-1 code; empty when not known.
    """
    sentences: list[list[Unit]] = []
    current: list[Unit] = []
    for index, unit in enumerate(units):
        current.append(unit)
        following = units[index + 1] if index + 1 < len(units) else None
        if following is None or ends_sentence(unit, following, language):
            sentences.append(current)
            current = []
    return sentences


def ends_sentence(unit: Unit, following: Unit, language: str) -> bool:
    """Whether a sentence ends between two units that follow each other."""
    if following.start - unit.end >= PAUSE_SECONDS:
        return True
    bare = unit.text.rstrip(_CLOSERS)
    if bare.endswith(tuple(_ALWAYS)):
        # "…" also trails off in the middle of a sentence.
        return not (bare.endswith("…") and _is_lower(following.text))
    if not bare.endswith(tuple(_USUALLY)) or _is_lower(following.text):
        return False
    return not (bare.endswith(".") and _is_abbreviation(bare, following.text, language))


def ends_clause(unit: Unit) -> bool:
    """Whether a clause ends with this unit."""
    return unit.text.rstrip(_CLOSERS).endswith(tuple(_CLAUSE + _ALWAYS + _USUALLY))


def _is_lower(text: str) -> bool:
    letter = next((char for char in text if char.isalnum()), "")
    return letter.islower()


def _is_abbreviation(word: str, following: str, language: str) -> bool:
    if _ORDINAL.match(word):
        return language in _ORDINAL_LANGUAGES
    if _INITIAL.match(word) or _SPELLED.match(word):
        return True
    bare = word.strip("\"'“‘«([{.").lower()
    return bare in _ABBREVIATIONS or (bare in _BEFORE_NUMBERS and following[:1].isdigit())
