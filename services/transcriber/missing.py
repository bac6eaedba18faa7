"""Speech that a recognizer has written nothing for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from services.common.transcript import Segment
from services.transcriber.voice import FRAME_SECONDS, SPEECH, Voice

_MARGIN_SECONDS: Final = 0.2
_AROUND_SECONDS: Final = 0.4
_JOINT_SECONDS: Final = 0.8
_LEAST_SECONDS: Final = 1.2
"""Speech shorter than this that has no text is mostly no words: a laugh, a breath, a voice in the music."""
_LEAST_ALONE_SECONDS: Final = 0.3
_ALONE_SECONDS: Final = 2.0


class Missing(NamedTuple):
    """A stretch of speech without text.

    Attributes:
        start: Seconds.
        end: Seconds.
        alone: Whether there is long silence around it. Whisper, which does not hear the silence, takes a word that is
            said again after it for an echo, and leaves it out.
    """

    start: float
    end: float
    alone: bool


def uncovered(voice: Voice, segments: Sequence[Segment]) -> list[Missing]:
    """Gives the stretches of clear speech that no segment covers, cut at pauses.

    Args:
        voice: Probability of speech of each frame, shape (frames,).
        segments: What was recognized.
    """
    clear = voice >= SPEECH
    voiced = np.flatnonzero(clear)
    for segment in segments:
        first = max(0, int((segment.start - _MARGIN_SECONDS) / FRAME_SECONDS))
        clear[first : math.ceil((segment.end + _MARGIN_SECONDS) / FRAME_SECONDS)] = False
    frames = np.flatnonzero(clear)
    if not len(frames):
        return []
    joint = round(_JOINT_SECONDS / FRAME_SECONDS)
    found = []
    for run in np.split(frames, np.flatnonzero(np.diff(frames) > joint) + 1):
        first, last = int(run[0]), int(run[-1])
        earlier, later = voiced[voiced < first], voiced[voiced > last]
        silent = min(first - earlier[-1] if len(earlier) else math.inf, later[0] - last if len(later) else math.inf)
        alone = bool(silent * FRAME_SECONDS >= _ALONE_SECONDS)
        if len(run) * FRAME_SECONDS < (_LEAST_ALONE_SECONDS if alone else _LEAST_SECONDS):
            continue
        # It reaches a little around, but not into what has been written.
        start, end = first * FRAME_SECONDS, (last + 1) * FRAME_SECONDS
        before = max((segment.end for segment in segments if segment.end <= start), default=0.0)
        after = min((segment.start for segment in segments if segment.start >= end), default=math.inf)
        start, end = max(start - _AROUND_SECONDS, before), min(end + _AROUND_SECONDS, after)
        found.append(Missing(round(start, 3), round(end, 3), alone))
    return found
