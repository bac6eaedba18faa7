"""Short stretches of audio that are heard in one window: the encoder takes 30 s, however short they are."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from services.common.transcript import Segment
from services.transcriber.missing import Missing
from services.transcriber.pcm import Samples
from services.transcriber.voice import FRAME, FRAME_SECONDS, Voice

_ROOM_SECONDS: Final = 28.0
_BETWEEN_FRAMES: Final = round(2.4 / FRAME_SECONDS)
"""A silence long enough for no segment to reach over it; most of it is not heard."""
_HEARD_BETWEEN_SECONDS: Final = 0.8


def grouped(stretches: Sequence[Missing]) -> list[list[Missing]]:
    """Gives stretches, in order, in groups that fit into a window; each of those amid silence by itself."""
    groups: list[list[Missing]] = []
    room = 0.0
    for stretch in stretches:
        seconds = stretch.end - stretch.start + _HEARD_BETWEEN_SECONDS
        if stretch.alone or seconds > room:
            groups.append([])
            room = _ROOM_SECONDS
        groups[-1].append(stretch)
        room = 0.0 if stretch.alone else room - seconds
    return groups


class Together:
    """Stretches of some audio, one after the other with silence between.

    Args:
        samples: The audio, shape (n,).
        voice: Probability of speech of each of its frames, shape (frames,).
        stretches: In order, at least one.

    Attributes:
        samples: Theirs, shape (m,).
        voice: Of each of their frames.
    """

    def __init__(self, samples: Samples, voice: Voice, stretches: Sequence[Missing]) -> None:
        heard, voices = [], []
        self._begins: list[float] = []
        self._moved: list[float] = []
        frames = 0
        for stretch in stretches:
            first = int(stretch.start / FRAME_SECONDS)
            last = min(len(voice), math.ceil(stretch.end / FRAME_SECONDS)) if stretch.end < math.inf else len(voice)
            if frames:
                heard.append(np.zeros(_BETWEEN_FRAMES * FRAME, samples.dtype))
                voices.append(np.zeros(_BETWEEN_FRAMES, voice.dtype))
                frames += _BETWEEN_FRAMES
            self._begins.append((frames - _BETWEEN_FRAMES / 2) * FRAME_SECONDS)
            self._moved.append((first - frames) * FRAME_SECONDS)
            heard.append(samples[first * FRAME : last * FRAME])
            voices.append(voice[first:last])
            frames += last - first
        self.samples, self.voice = np.concatenate(heard), np.concatenate(voices)

    def restored(self, segment: Segment) -> Segment:
        """Gives a segment in the clock of the audio."""
        moved = self._moved[max(0, bisect.bisect(self._begins, segment.start) - 1)]
        return replace(
            segment,
            start=segment.start + moved,
            end=segment.end + moved,
            words=[replace(word, start=word.start + moved, end=word.end + moved) for word in segment.words],
        )
