"""The windows that Whisper hears a slice in: up to 30 s of its speech, cut where nobody speaks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.transcript import Segment
from services.transcriber.cutter import choose_cut
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.voice import FRAME, SILENCE, SPEECH, Voice

WINDOW_SECONDS: Final = 30.0
"""What Whisper hears at once."""
FEATURE_SAMPLES: Final = 160
"""Samples of one frame of features (10 ms)."""
_ROOM_SECONDS: Final = 6.0
"""A window ends within this of an even share, if it can: a longer search finds a longer pause."""
_AIM_SECONDS: Final = 28.0
"""Windows are as few as this length asks for: each costs the encoder 30 s, however short it is."""


# What faster-whisper asks of voice activity: closer values (500 and 200 ms) were no faster, had no more words right
# and lost the first word after noise.
_LEAST_SILENCE_FRAMES: Final = 2.0 * SAMPLE_RATE / FRAME
_LEAST_SPEECH_FRAMES: Final = 0.128 * SAMPLE_RATE / FRAME
_PADDING_SAMPLES: Final = round(0.4 * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How windows are decoded.

    Attributes:
        beam: Beams of the search; 1 is greedy.
        translate: Into English, not as it was said.
        told: What the model is shown before each window.
    """

    beam: int
    translate: bool = False
    told: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the speech, in frames of features (10 ms): the first, and the one after the last."""

    start: int
    end: int


class Speech:
    """The speech of some audio without the long silences.

    Args:
        samples: The audio, shape (n,).
        voice: Probability of speech of each of its frames, shape (frames,).

    Attributes:
        samples: The speech alone, shape (m,); empty where nobody speaks.
    """

    def __init__(self, samples: Samples, voice: Voice) -> None:
        found = spoken(voice, len(samples))
        self.samples = np.concatenate([samples[start:end] for start, end in found] or [samples[:0]])
        self._ends = np.cumsum([end - start for start, end in found], dtype=np.int64)
        self._left_out = np.array([start for start, _ in found], np.int64) - self._ends + np.diff(self._ends, prepend=0)
        self._voice = voice

    def windows(self) -> list[Window]:
        """Cuts it into as few windows as there need be, in pauses."""
        if not len(self.samples):
            return []
        places = np.arange(0, len(self.samples), FRAME)
        at = np.minimum((places + self._left_out[self._stretch(places)]) // FRAME, len(self._voice) - 1)
        probabilities = self._voice[at]
        padded = np.pad(self.samples, (0, -len(self.samples) % FRAME)).reshape(-1, FRAME)
        loudness = np.sqrt((padded * padded).mean(axis=1))
        edges = [0, *_cuts(probabilities, loudness), len(places)]
        frames = [min(edge * FRAME, len(self.samples)) // FEATURE_SAMPLES for edge in edges]
        return [Window(start, end) for start, end in pairwise(frames) if end > start]

    def restored(self, segment: Segment) -> Segment:
        """Gives a segment of the speech in the clock of the audio; a word lies where its middle does."""
        words = []
        for word in segment.words:
            moved = self._left_out_before((word.start + word.end) / 2)
            words.append(replace(word, start=round(word.start + moved, 2), end=round(word.end + moved, 2)))
        return replace(segment, start=words[0].start, end=words[-1].end, words=words)

    def _left_out_before(self, seconds: float) -> float:
        place = np.array([int(seconds * SAMPLE_RATE)])
        return float(self._left_out[self._stretch(place)][0]) / SAMPLE_RATE

    def _stretch(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = np.minimum(
            np.searchsorted(self._ends, places, side="right"), len(self._ends) - 1
        )
        return found


def spoken(voice: Voice, samples: int) -> list[tuple[int, int]]:
    """Gives the sample ranges that hold speech, in order, with a little around them.

    As Silero's own `get_speech_timestamps`: speech begins at a clear frame, and ends where a long silence begins.

    Args:
        voice: Probability of speech of each frame, shape (frames,).
        samples: Samples of the audio.
    """
    clear = np.flatnonzero(voice >= SPEECH)
    if not len(clear):
        return []
    silent = np.append(np.flatnonzero(voice < SILENCE), len(voice))
    after = silent[np.searchsorted(silent, clear)]  # where silence may begin after each clear frame
    joints = np.flatnonzero(clear[1:] - after[:-1] >= _LEAST_SILENCE_FRAMES)
    begins, ends = clear[np.append(0, joints + 1)], after[np.append(joints, len(clear) - 1)]
    kept = ends - begins > _LEAST_SPEECH_FRAMES
    begins, ends = begins[kept] * FRAME, ends[kept] * FRAME
    # A silence is longer than twice the padding, so that neighbours never meet.
    return [
        (max(0, int(begin) - _PADDING_SAMPLES), min(samples, int(end) + _PADDING_SAMPLES))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _cuts(probabilities: Voice, loudness: npt.NDArray[np.float32]) -> list[int]:
    """Gives the frames of voice activity to cut before."""
    longest = math.floor(WINDOW_SECONDS * SAMPLE_RATE / FRAME)
    aim = _AIM_SECONDS * SAMPLE_RATE / FRAME
    room = round(_ROOM_SECONDS * SAMPLE_RATE / FRAME)
    cuts: list[int] = []
    begin = 0
    while (left := len(probabilities) - begin) > longest:
        windows = math.ceil(left / aim)
        even = round(left / windows)
        # The others must still hold what is left.
        earliest = max(even - room, left - (windows - 1) * longest, 1)
        latest = max(min(even + room, longest), earliest + 1)
        begin += choose_cut(probabilities[begin:], loudness[begin:], earliest, latest, even)
        cuts.append(begin)
    return cuts
