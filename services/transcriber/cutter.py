"""Where a stream of audio is cut into slices: in its silences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.transcriber.pcm import SAMPLE_RATE, Samples, to_s16
from services.transcriber.voice import FRAME, FRAME_SECONDS, SILENCE, SPEECH, Voice

EARLIEST = 0.6
"""A slice is at least this share of its target length (but for the last one)."""
LATEST = 1.2
"""A slice is at most this share of its target length."""

_MIN_SILENCE_FRAMES = 6
"""A pause shorter than this (0.19 s) may be inside a word (a stop consonant), so it is not trusted as a silence."""
_MIN_SPEECH_FRAMES = 4
"""A slice with less speech than this (0.13 s, shorter than any word) has none."""
_SMOOTHING_FRAMES = 7


@dataclass(frozen=True, slots=True)
class Cut:
    """One slice of the stream.

    Attributes:
        index: Position among the slices that hold speech.
        start: First sample, in the media's clock.
        end: Sample after the last.
        speech_seconds: Seconds that voice activity calls speech.
        voice: Probability of speech of each frame, shape (frames,), the last one possibly partial.
        samples: The audio, shape (end - start,), int16.
    """

    index: int
    start: int
    end: int
    speech_seconds: float
    voice: Voice
    samples: npt.NDArray[np.int16]


class Cutter:
    """Cuts a stream as it comes, holding at most one slice of it.

    The cuts depend on the audio, on the lengths and on where the slice begins, and on nothing else: doing it again
    gives the same slices. Together the slices and the stretches without speech between them cover all of the stream.

    Args:
        slice_seconds: Length aimed at.
        first_slice_seconds: Length aimed at for the first slice; each following one may be twice as long as the one
            before, up to `slice_seconds`, so that the beginning is searchable soon.
        first_index: Index of the first slice to give; those before it are there already.
        start: Sample at which that slice begins (the end of the one before it); what comes earlier is passed over.
    """

    def __init__(
        self, *, slice_seconds: float, first_slice_seconds: float, first_index: int = 0, start: int = 0
    ) -> None:
        self._slice_seconds = slice_seconds
        self._first_slice_seconds = min(first_slice_seconds, slice_seconds)
        self._index = first_index
        self._start = start
        self._position = 0
        self._samples: list[npt.NDArray[np.int16]] = []
        self._probabilities: list[npt.NDArray[np.float32]] = []
        self._loudness: list[npt.NDArray[np.float32]] = []
        self._held_frames = 0

    def feed(self, samples: Samples, probabilities: npt.NDArray[np.float32]) -> Iterator[Cut]:
        """Takes the next samples and gives the slices that are complete.

        Args:
            samples: Shape (n,); whole frames, but for the last call.
            probabilities: Probability of speech of each frame, the last one possibly partial.
        """
        passed = min(max(self._start - self._position, 0), len(samples)) if not self._samples else 0
        self._position += len(samples)
        if passed:
            # An end that is not on the grid of frames is the end of the media: nothing but a shorter rest can follow.
            samples, probabilities = samples[passed:], probabilities[passed // FRAME :]
        if not len(samples):
            return
        padded = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        self._samples.append(to_s16(samples))
        self._probabilities.append(probabilities[: len(padded)])
        self._loudness.append(np.sqrt((padded * padded).mean(axis=1)))
        self._held_frames += len(padded)
        while self._held_frames >= self._latest_frames:
            yield from self._cut(last=False)

    def finish(self) -> Iterator[Cut]:
        """Gives the slice that remains at the end of the stream, if it holds speech."""
        if self._samples:
            yield from self._cut(last=True)

    @property
    def _target_seconds(self) -> float:
        # Beyond 2^16 times the first length nothing changes; the bound keeps the power a small number.
        return min(self._slice_seconds, self._first_slice_seconds * 2.0 ** min(self._index, 16))

    @property
    def _latest_frames(self) -> int:
        return max(2, round(self._target_seconds * LATEST / FRAME_SECONDS))

    def _cut(self, *, last: bool) -> Iterator[Cut]:
        samples = np.concatenate(self._samples)
        probabilities = np.concatenate(self._probabilities)
        loudness = np.concatenate(self._loudness)
        if last:
            frames = len(probabilities)
        else:
            earliest = max(1, round(self._target_seconds * EARLIEST / FRAME_SECONDS))
            target = round(self._target_seconds / FRAME_SECONDS)
            frames = choose_cut(probabilities, loudness, earliest, self._latest_frames, target)
        end = min(frames * FRAME, len(samples))
        speech_frames = int((probabilities[:frames] >= SPEECH).sum())
        begin = self._start
        # Copies, so that the rest does not keep the whole alive.
        self._samples = [samples[end:].copy()]
        self._probabilities = [probabilities[frames:].copy()]
        self._loudness = [loudness[frames:].copy()]
        self._held_frames = len(probabilities) - frames
        self._start = begin + end
        if speech_frames < _MIN_SPEECH_FRAMES:
            return
        index = self._index
        self._index += 1
        yield Cut(index, begin, begin + end, speech_frames * FRAME_SECONDS, probabilities[:frames], samples[:end])


def choose_cut(
    probabilities: npt.NDArray[np.float32],
    loudness: npt.NDArray[np.float32],
    earliest: int,
    latest: int,
    target: int,
) -> int:
    """Chooses the frame to cut before: the middle of the longest silence, or the quietest moment where there is none.

    Args:
        probabilities: Probability of speech, shape (frames,).
        loudness: Root mean square of each frame, shape (frames,).
        earliest: First frame allowed.
        latest: Last frame allowed; at most `len(probabilities)`.
        target: Frame preferred between equals.

    Returns:
        A frame in [earliest, latest].
    """
    silent = np.concatenate([[False], probabilities[earliest:latest] < SILENCE, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1])
    starts, ends = edges[::2] + earliest, edges[1::2] + earliest
    if len(starts) and (ends - starts).max() >= _MIN_SILENCE_FRAMES:
        middles = (starts + ends) // 2
        # Longest first; between equals the one nearest to the target, then the earlier one.
        best = np.lexsort((middles, np.abs(middles - target), -(ends - starts)))[0]
        return int(middles[best])
    # Only what lies in the window counts, so that the choice does not depend on how much was heard beyond it.
    around = np.pad(loudness[earliest:latest], _SMOOTHING_FRAMES // 2, mode="edge")
    smooth = np.convolve(around, np.full(_SMOOTHING_FRAMES, 1 / _SMOOTHING_FRAMES), mode="valid")
    return earliest + int(smooth.argmin())


def seconds(samples: int) -> float:
    """Gives a position in samples as seconds."""
    return samples / SAMPLE_RATE
