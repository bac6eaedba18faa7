"""Which language is spoken, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LANGUAGE_CLEAR: Final = 0.8
"""Probability from which another language than the one expected is believed: below it Whisper confuses close
languages and accents, above it the speaker has really changed over."""

Ranking = Sequence[tuple[str, float]]
"""Languages (ISO 639-1) with their probabilities, the most probable first."""


class LanguageListener:
    """Decides the language of each window of a slice, and in the end that of the slice.

    Where the first windows are unclear it listens ahead in the same slice before it falls back on the hint: what a
    slice says should depend on other slices, and on the order they were done in, as little as can be.

    Args:
        language: The language, when it is known (then nothing is decided); else empty.
        hint: The language to be expected; empty for none.

    Attributes:
        current: The language of the window heard last.
    """

    def __init__(self, language: str, hint: str) -> None:
        self._fixed = bool(language)
        self._hint = hint
        self.current = language
        self._heard: dict[str, list[float]] = {}

    @property
    def fixed(self) -> bool:
        """Whether the language is known, and nothing need be heard."""
        return self._fixed

    def hear(self, ranking: Ranking, later: Sequence[Ranking]) -> str:
        """Gives the language of the next window.

        Args:
            ranking: Languages (ISO 639-1) with their probabilities, the most probable first.
            later: The same for the windows after this one, which count only while no window has been clear.
        """
        if self._fixed:
            return self.current
        top, probability = ranking[0]
        if probability >= LANGUAGE_CLEAR:
            self.current = top
        elif not self.current:
            clear = (ahead[0][0] for ahead in later if ahead[0][1] >= LANGUAGE_CLEAR)
            self.current = next(clear, "") or self._hint or top
        self._heard.setdefault(self.current, []).append(dict(ranking).get(self.current, 0.0))
        return self.current

    def verdict(self) -> tuple[str, float]:
        """Gives the language of most windows and its mean probability in them."""
        if self._fixed or not self._heard:
            return self.current, 1.0 if self._fixed else 0.0
        language, probabilities = max(self._heard.items(), key=lambda item: (len(item[1]), sum(item[1])))
        return language, round(sum(probabilities) / len(probabilities), 4)
