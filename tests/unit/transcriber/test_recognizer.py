"""The parts of recognition that need no model, and the scripted recognizer."""

from pathlib import Path

import numpy as np
import pytest

from services.common.transcript import Segment, Word
from services.transcriber.languages import LanguageListener
from services.transcriber.missing import uncovered
from services.transcriber.recognizer import Instructions, Recognition
from services.transcriber.scripted import ScriptedRecognizer
from services.transcriber.voice import FRAME_SECONDS
from services.transcriber.whisper import _model_name, split_at_gaps
from tests.unit.transcriber import recognizer_conformance as conformance


def segment(*words: tuple[float, float, str]) -> Segment:
    timed = [Word(start, end, text, 0.9) for start, end, text in words]
    text = "".join(word.text for word in timed).strip()
    return Segment(timed[0].start, timed[-1].end, text, timed, -0.2, 0.1, 1.1)


def loud(seconds: float, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)


def test_the_scripted_recognizer_conforms() -> None:
    conformance.check_speech(ScriptedRecognizer(), loud(17))
    conformance.check_no_speech(ScriptedRecognizer())
    conformance.check_options(ScriptedRecognizer(language="fr"), loud(6))


def test_the_script_follows_the_audio() -> None:
    def text(seed: int) -> list[str]:
        return [s.text for s in ScriptedRecognizer().recognize(loud(12, seed), Instructions()).segments]

    assert len(text(1)) == 3
    assert text(1) != text(2)
    given = ScriptedRecognizer(["One.", "Two."]).recognize(loud(12), Instructions())
    assert [s.text for s in given.segments] == ["One.", "Two.", "One."]


def test_times_move_to_the_clock_of_the_media_and_stay_in_the_slice() -> None:
    recognition = Recognition("en", 1.0, [segment((0.1, 0.5, "Go"), (0.5, 10.4, " on"))])
    [moved] = recognition.shifted(100.0, end=110.0)
    assert (moved.start, moved.end) == (100.1, 110.0)
    assert [(w.start, w.end, w.text) for w in moved.words] == [(100.1, 100.5, "Go"), (100.5, 110.0, " on")]


def test_a_segment_over_a_long_silence_is_split() -> None:
    parts = split_at_gaps(segment((1, 1.5, " I"), (1.6, 2, " say"), (40, 40.5, " banana,"), (40.6, 41, " banana.")))
    assert [(p.start, p.end, p.text) for p in parts] == [(1, 2, "I say"), (40, 41.0, "banana, banana.")]
    whole = segment((1, 1.5, " I"), (2.5, 3, " pause"))
    assert split_at_gaps(whole) == [whole]


def heard(*languages: tuple[str, float]) -> list[tuple[str, float]]:
    return list(languages)


def test_a_known_language_is_not_asked_for() -> None:
    listener = LanguageListener("de", "")
    assert listener.fixed
    assert listener.hear(heard(("fr", 1.0)), []) == "de"
    assert listener.verdict() == ("de", 1.0)


def test_the_hint_is_kept_unless_the_audio_is_clear() -> None:
    listener = LanguageListener("", "de")
    assert listener.hear(heard(("nl", 0.6), ("de", 0.3)), [heard(("nl", 0.5))]) == "de"
    assert listener.hear(heard(("en", 0.95), ("de", 0.01)), [heard(("fr", 1.0))]) == "en"
    # From there on English is what is expected.
    assert listener.hear(heard(("cy", 0.5), ("en", 0.4)), [heard(("fr", 1.0))]) == "en"
    assert listener.verdict()[0] == "en"


def test_an_unclear_first_window_does_not_decide_for_the_rest() -> None:
    listener = LanguageListener("", "")
    assert listener.hear(heard(("la", 0.3), ("it", 0.2)), [heard(("la", 0.4))]) == "la"
    assert listener.hear(heard(("it", 0.9)), []) == "it"
    assert listener.hear(heard(("it", 0.99)), []) == "it"
    assert listener.verdict() == ("it", pytest.approx(0.945))


def test_an_unclear_first_window_is_decided_by_the_next_clear_one_and_not_by_other_slices() -> None:
    later = [heard(("fr", 0.5)), heard(("it", 0.97)), heard(("de", 0.99))]
    for hint in ("", "de", "en"):
        assert LanguageListener("", hint).hear(heard(("la", 0.3), ("it", 0.2)), later) == "it"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("base", "whisper-base"),
        ("Systran/faster-whisper-large-v3", "whisper-large-v3"),
        ("models/whisper-base", "whisper-base"),
        ("hub/models--Systran--faster-whisper-small.en/snapshots/d3ad", "whisper-small.en"),
        (str(Path("site-packages") / "whisper_tiny_en" / "model"), "whisper_tiny_en"),
    ],
)
def test_models_have_names_for_people(model: str, name: str) -> None:
    assert _model_name(model) == name


def voiced(*spans: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    voice = np.zeros(round(60 / FRAME_SECONDS), np.float32)
    for start, end in spans:
        voice[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = 0.9
    return voice


def test_speech_that_no_segment_covers_is_found_and_cut_at_pauses() -> None:
    written = [segment((10, 12, "One"), (12, 14, " two."))]
    assert uncovered(voiced((10, 14)), written) == []
    assert uncovered(voiced((9.9, 14.1)), written) == []
    [missing] = uncovered(voiced((10, 14), (16, 20)), written)
    assert missing[:2] == pytest.approx((15.6, 20.4), abs=0.05)
    assert len(uncovered(voiced((10, 14), (16, 20), (22, 25)), written)) == 2
    # A laugh is no sentence, and what is written is not written again; but a word may be said between long silences.
    assert uncovered(voiced((10, 14), (15.5, 16.3)), written) == []
    assert len(uncovered(voiced((10, 14), (20, 20.8)), written)) == 1
    assert uncovered(voiced((10, 14), (20, 20.2)), written) == []
    [right_behind] = uncovered(voiced((10, 18)), written)
    assert right_behind[0] == pytest.approx(14, abs=0.25)
    assert uncovered(voiced(), []) == []
