"""Which speech is listened to again, and how; the model is scripted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.common.transcript import Segment, Word
from services.transcriber.lanes import Lanes
from services.transcriber.languages import LanguageListener
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.voice import FRAME, Voice
from services.transcriber.whisper import WhisperRecognizer
from services.transcriber.windows import Decoding

SPOKEN = [(0.0, 5.0), (6.0, 9.0), (10.0, 14.0), (15.0, 20.0)]
WRITTEN = [Segment(0.0, 5.0, "first", language="en"), Segment(10.0, 14.0, "third", language="en")]


def spoken() -> Voice:
    voice = np.zeros(round(20 * SAMPLE_RATE / FRAME), np.float32)
    for start, end in SPOKEN:
        voice[round(start * SAMPLE_RATE / FRAME) : round(end * SAMPLE_RATE / FRAME)] = 1.0
    return voice


class Scripted(WhisperRecognizer):
    """Says a word for each second of speech it hears, in one language."""

    def __init__(self, language: str, probability: float) -> None:
        self._lanes = Lanes()
        self._ranking = [(language, probability)]
        self.heard: list[float] = []

    def _windows(self, samples: Samples, voice: Voice, listener: LanguageListener, how: Decoding) -> list[Segment]:
        self.heard.append(len(samples) / SAMPLE_RATE)
        listener.hear(self._ranking, [])
        seconds = [
            float(at) for at in range(len(samples) // SAMPLE_RATE) if voice[int((at + 0.5) * SAMPLE_RATE / FRAME)]
        ]
        words = [Word(at, at + 1, "word", 0.9) for at in seconds]
        return [Segment(word.start, word.end, "word", [word], language=listener.current) for word in words]

    def again(self, samples: Samples, voice: Voice, **options: Any) -> list[Segment]:
        return self._recovered(samples, voice, list(WRITTEN), options.get("language", ""), Decoding(1))


def assert_found(segments: list[Segment]) -> None:
    """What was left out is there, in the clock of the whole, and what was written is there once."""
    new = [segment for segment in segments if segment not in WRITTEN]
    second = [segment for segment in new if segment.start >= 5.5 and segment.end <= 9.5]
    fourth = [segment for segment in new if segment.start >= 14.5 and segment.end <= 20.5]
    assert len(second) >= 3
    assert len(fourth) >= 4
    assert len(new) == len(second) + len(fourth)


@pytest.mark.parametrize("given", ["", "en"])
def test_short_stretches_of_one_language_are_heard_at_once(given: str) -> None:
    recognizer = Scripted("en", 0.95)

    found = recognizer.again(np.ones(20 * SAMPLE_RATE, np.float32), spoken(), language=given)

    assert len(recognizer.heard) == 1
    assert_found(found)
    assert [segment.start for segment in found] == sorted(segment.start for segment in found)


@pytest.mark.parametrize(("language", "probability"), [("de", 0.95), ("en", 0.6)])
def test_stretches_of_who_knows_which_language_are_heard_one_by_one(language: str, probability: float) -> None:
    recognizer = Scripted(language, probability)

    found = recognizer.again(np.ones(20 * SAMPLE_RATE, np.float32), spoken())

    assert len(recognizer.heard) == 3, "both at once, then each"
    assert max(recognizer.heard[1:]) < 7
    assert_found(found)
