"""When cues are shown: what was heard for as long as it takes to read, what a person gave as it was given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from services.common.transcript import Segment
from services.gateway.caption_lines import LINES, broken, columns
from services.gateway.cues import (
    CUE_SECONDS,
    MIN_CUE_SECONDS,
    SHORTEST_SECONDS,
    Cue,
    cues_of_segment,
    reading_seconds,
    text_of,
)

LATEST_SECONDS = 0.5
"""Where a recognizer has one voice speak twice at once, the second's words may come so much late."""


def cues_of(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Gives the cues of segments, in order of their starts: two lines and seven seconds at most.

    What a recognizer heard stays as long as it takes to read, where there is a pause behind it, and is shown together
    with the next if it would flash by; cues of one voice do not overlap. Those of two voices do where both talk, and
    what a person brought has its own times, whatever else is shown then: players put one above the other.
    """
    cues = [cue for segment in segments for cue in cues_of_segment(segment)]
    cues.sort(key=lambda cue: cue.start)
    # What comes late may have been overtaken.
    yield from sorted(_timed(_flashes_joined(cues)), key=lambda cue: cue.start)


def _flashes_joined(cues: Iterable[Cue]) -> list[Cue]:
    kept: list[Cue] = []
    for cue in cues:
        if kept and (joined := _joined(kept[-1], cue)) is not None:
            kept[-1] = joined
        else:
            kept.append(cue)
    return kept


def _joined(first: Cue, second: Cue) -> Cue | None:
    """Gives two cues as one, where the first would be gone before it is read; None where they do not go together."""
    if second.start - first.start >= SHORTEST_SECONDS or _may_overlap(first, second):
        return None
    if max(first.end, second.end) - first.start > CUE_SECONDS:
        return None
    words = [*first.words, *second.words]
    opening = second.words[0]
    if not opening.text.startswith(" ") and columns(opening.text[:1]) <= 1:  # a segment's first word may have no space
        words[len(first.words)] = replace(opening, text=f" {opening.text}")
    lines = broken(text_of(words))
    if len(lines) > LINES:
        return None
    return Cue(first.start, max(first.end, second.end), lines, first.speaker, words)


def _may_overlap(first: Cue, second: Cue) -> bool:
    return first.given or second.given or first.speaker != second.speaker


def _timed(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Gives cues for as long as it takes to read them, as far as there is time; given ones as they are."""
    over: dict[str, float] = {}
    for index, cue in enumerate(cues):
        if cue.given:
            yield cue
            continue
        start = max(cue.start, over.get(cue.speaker, 0.0))
        end = max(min(cue.end, start + CUE_SECONDS), start + MIN_CUE_SECONDS)
        following = _following(cues, index, end)
        if following < end:
            # The first is shown long enough to be read.
            following = max(following, min(start + SHORTEST_SECONDS, following + LATEST_SECONDS))
        wanted = max(end, start + reading_seconds(sum(map(columns, cue.lines))))
        end = max(min(wanted, following), start + MIN_CUE_SECONDS)
        over[cue.speaker] = end
        yield replace(cue, start=start, end=end)


def _following(cues: Sequence[Cue], index: int, end: float) -> float:
    """Gives when the next cue begins, but for those that are shown together with this one."""
    for later in range(index + 1, len(cues)):
        if cues[later].start >= end or not _may_overlap(cues[index], cues[later]):
            return cues[later].start
    return math.inf
