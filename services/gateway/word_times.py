"""Times for the words of a corrected text: those of the words it shares with the text before, guesses between them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from services.common.transcript import Word

SLACK_SECONDS = 0.5
"""A word may lie this much outside of its segment: people who set times by ear are not more exact."""
SHARE_KEPT = 0.5
"""Of the words of a text at least this many must be known; else times in proportion to the letters are as good."""


def with_times(text: str, start: float, end: float, heard: Sequence[Word]) -> list[Word]:
    """Gives the words of a text with times; none where too little is known of them.

    Args:
        text: What is said.
        start: When it begins, seconds.
        end: When it ends.
        heard: Words with times from before the text was changed, in order; those elsewhere are passed over.
    """
    near = [word for word in heard if word.start >= start - SLACK_SECONDS and word.end <= end + SLACK_SECONDS]
    texts = text.split()
    if not near or not texts:
        return []
    before, after = [_bare(word.text) for word in near], [_bare(word) for word in texts]
    known: list[Word | None] = [None] * len(texts)
    for i, j, size in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        for at in range(size):
            known[j + at] = near[i + at]
    if sum(word is not None for word in known) < SHARE_KEPT * len(texts):
        return []
    return _filled(texts, known, start, end)


def _filled(texts: list[str], known: list[Word | None], start: float, end: float) -> list[Word]:
    """Spreads runs of words without times between their neighbours, by their letters."""
    words: list[Word] = []
    at = 0
    clock = start
    while at < len(texts):
        if (found := known[at]) is not None:
            begin = min(max(found.start, clock), end)
            words.append(Word(begin, min(max(found.end, begin), end), f" {texts[at]}", found.probability))
            clock = words[-1].end
            at += 1
            continue
        stop = next((index for index in range(at, len(texts)) if known[index] is not None), len(texts))
        after = known[stop] if stop < len(texts) else None
        until = min(max(after.start if after else end, clock), end)
        letters = sum(map(len, texts[at:stop]))
        for text in texts[at:stop]:
            finish = clock + (until - clock) * len(text) / letters
            # A person has written it: nothing is more certain.
            words.append(Word(round(clock, 3), round(finish, 3), f" {text}", 1.0))
            letters -= len(text)
            clock = finish
        at = stop
    return words


def _bare(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum()) or text.strip()
