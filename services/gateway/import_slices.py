"""Where an imported transcript is cut into slices: between segments, about every five minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.common.transcript import Segment

EARLIEST = 0.6
LATEST = 1.2
"""Between these shares of the length aimed at, as slices of media are."""
MAX_CHARACTERS = 20_000
"""Of one slice, four times what is said in five minutes: its chunks are written in one go."""
_ENDS = (".", "?", "!", "…", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class TranscriptSlice:
    """A few minutes of a transcript. Times are seconds; slices follow each other without a gap."""

    start: float
    end: float
    segments: list[Segment]


def cut(segments: Sequence[Segment], *, duration: float, slice_seconds: float) -> Iterator[TranscriptSlice]:
    """Cuts a transcript.

    Args:
        segments: At least one, in order of their starts.
        duration: Length of the whole, not before the last segment's end; the last slice ends there.
        slice_seconds: Length of a slice aimed at.
    """
    begin, start = 0, 0.0
    while begin < len(segments):
        end = _end_of_slice(segments, begin, start, duration, slice_seconds)
        stop = segments[end].start if end < len(segments) else duration
        yield TranscriptSlice(start, max(stop, start), list(segments[begin:end]))
        begin, start = end, max(stop, start)


def _end_of_slice(segments: Sequence[Segment], begin: int, start: float, duration: float, slice_seconds: float) -> int:
    """Gives the segment that begins the next slice; one past the last where there is none."""
    best: tuple[bool, float, float] | None = None
    chosen = len(segments)
    characters = 0
    heard = 0.0
    for index in range(begin, len(segments)):
        segment = segments[index]
        elapsed = segment.start - start
        if index > begin:
            if characters + len(segment.text) > MAX_CHARACTERS:
                return chosen if best is not None else index
            if elapsed > LATEST * slice_seconds:
                return chosen if best is not None else index
            if elapsed >= EARLIEST * slice_seconds:
                previous = segments[index - 1]
                natural = previous.speaker != segment.speaker or previous.text.rstrip("\"'”’»)").endswith(_ENDS)
                pause = round(max(segment.start - heard, 0.0), 1)
                rank = (natural, pause, -abs(elapsed - slice_seconds))
                if best is None or rank > best:
                    best, chosen = rank, index
        characters += len(segment.text)
        heard = max(heard, segment.end)
    # What is left fits into one slice, or has to be cut once more where that was best.
    return chosen if best is not None and duration - start > LATEST * slice_seconds else len(segments)
