"""What every `Recognizer` must do; run on the scripted one here and on faster-whisper in the integration tests."""

import numpy as np
import pytest

from services.common.speech import SpeechOptions
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.recognizer import Instructions, Recognizer


def check_speech(recognizer: Recognizer, speech: Samples) -> None:
    """Segments in order, inside the audio, with words inside them; the same each time, whatever came between."""
    first = recognizer.recognize(speech, Instructions())
    seconds = len(speech) / SAMPLE_RATE
    assert recognizer.name
    assert recognizer.device
    assert first.segments
    assert 2 <= len(first.language) <= 3
    assert 0 <= first.language_probability <= 1
    # What it heard is what it wrote, and all of it is accounted for.
    assert set(first.spoken) == {segment.language for segment in first.segments}
    assert sum(first.spoken.values()) == pytest.approx(sum(s.end - s.start for s in first.segments), abs=0.1)
    end = 0.0
    for segment in first.segments:
        # What can be told from text and audio alone is told for all recognizers, elsewhere.
        assert (segment.suspect, segment.confidence, segment.speech_share) == ("", None, None)
        assert end <= segment.start + 0.05
        assert segment.start < segment.end <= seconds + 0.05
        assert segment.text == segment.text.strip() != ""
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert all(0 <= word.probability <= 1 for word in segment.words)
        assert all(a.end <= b.start + 0.05 for a, b in zip(segment.words, segment.words[1:], strict=False))
        end = segment.end
    recognizer.recognize(speech[::-1].copy(), Instructions())
    assert recognizer.recognize(speech, Instructions()) == first


def check_no_speech(recognizer: Recognizer) -> None:
    """No text for silence, nor for nothing at all."""
    for samples in (np.zeros(SAMPLE_RATE * 40, np.float32), np.zeros(0, np.float32), np.zeros(100, np.float32)):
        recognition = recognizer.recognize(samples, Instructions())
        assert recognition.segments == []
        assert recognition.language == ""


def check_options(recognizer: Recognizer, speech: Samples) -> None:
    """A language that is given is used, one that nobody knows is not; English text is English; words may be told."""
    for language, given in (("en", "en"), ("", "tlh"), ("en", "")):
        options = SpeechOptions(language=given, prompt="A talk.", hotwords="Earmark, Zephyr" if given else "")
        found = recognizer.recognize(speech, Instructions(options=options))
        assert found.segments
        assert found.language != "tlh" or not language
        if given == "en":
            assert found.language == "en"
            assert set(found.spoken) == {"en"}
    english = recognizer.recognize(speech, Instructions(options=SpeechOptions(task="translate")))
    assert english.language == "en"
    assert {segment.language for segment in english.segments} == {"en"}
