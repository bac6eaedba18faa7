"""What every `Recognizer` must do; run on the scripted one here and on faster-whisper in the integration tests."""

import numpy as np

from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.recognizer import Recognizer


def check_speech(recognizer: Recognizer, speech: Samples) -> None:
    """Segments in order, inside the audio, with words inside them; the same each time, whatever came between."""
    first = recognizer.recognize(speech, language=None, hint=None)
    seconds = len(speech) / SAMPLE_RATE
    assert recognizer.name
    assert first.segments
    assert 2 <= len(first.language) <= 3
    assert 0 <= first.language_probability <= 1
    end = 0.0
    for segment in first.segments:
        assert end <= segment.start + 0.05
        assert segment.start < segment.end <= seconds + 0.05
        assert segment.text == segment.text.strip() != ""
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert all(0 <= word.probability <= 1 for word in segment.words)
        assert all(a.end <= b.start + 0.05 for a, b in zip(segment.words, segment.words[1:], strict=False))
        end = segment.end
    recognizer.recognize(speech[::-1].copy(), language=None, hint=None)
    assert recognizer.recognize(speech, language=None, hint=None) == first


def check_no_speech(recognizer: Recognizer) -> None:
    """No text for silence, nor for nothing at all."""
    for samples in (np.zeros(SAMPLE_RATE * 40, np.float32), np.zeros(0, np.float32), np.zeros(100, np.float32)):
        recognition = recognizer.recognize(samples, language=None, hint=None)
        assert recognition.segments == []
        assert recognition.language == ""


def check_language(recognizer: Recognizer, speech: Samples) -> None:
    """A language that is given is used."""
    assert recognizer.recognize(speech, language="en", hint=None).language == "en"
