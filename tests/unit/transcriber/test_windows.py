"""How the speech of a slice is divided into what Whisper hears at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.transcript import Segment, Word
from services.transcriber.pcm import SAMPLE_RATE
from services.transcriber.voice import FRAME, FRAME_SECONDS
from services.transcriber.windows import FEATURE_SAMPLES, WINDOW_SECONDS, Speech, spoken

Voice = np.ndarray[tuple[int], np.dtype[np.float32]]


def voiced(seconds: float, *spans: tuple[float, float]) -> Voice:
    voice = np.zeros(round(seconds / FRAME_SECONDS), np.float32)
    for start, end in spans:
        voice[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = 0.9
    return voice


def audio(voice: Voice) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.repeat(voice, FRAME) * np.tile([0.5, -0.5], len(voice) * FRAME // 2).astype(np.float32)


def in_seconds(voice: Voice) -> list[tuple[float, float]]:
    found = spoken(voice, len(voice) * FRAME)
    return [(start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in found]


def test_only_long_silences_are_left_out() -> None:
    assert in_seconds(voiced(60)) == []
    assert in_seconds(voiced(60, (10, 10.1))) == []  # a click
    assert in_seconds(voiced(60, (10, 12), (13.5, 15))) == [pytest.approx((9.6, 15.4), abs=0.05)]
    first, second = in_seconds(voiced(60, (10, 12), (14.5, 60)))
    assert first == pytest.approx((9.6, 12.4), abs=0.05)
    assert second == pytest.approx((14.1, 60), abs=0.05)


def test_it_finds_what_the_library_finds() -> None:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    from services.transcriber.voice import VoiceActivity

    generator = np.random.default_rng(3)
    hum = np.sin(np.arange(20 * SAMPLE_RATE) * 0.05).astype(np.float32) * 0.2
    noise = generator.normal(0, 0.05, 20 * SAMPLE_RATE).astype(np.float32)
    samples = np.concatenate([hum * (1 + noise), np.zeros(3 * SAMPLE_RATE, np.float32), noise])
    options = VadOptions(min_silence_duration_ms=2000, speech_pad_ms=400, min_speech_duration_ms=128)
    theirs = [(one["start"], one["end"]) for one in get_speech_timestamps(samples, options)]
    ours = spoken(VoiceActivity().of_whole(samples), len(samples))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=2 * FRAME)


def test_windows_are_cut_in_pauses_and_are_as_few_as_can_be() -> None:
    pauses = [(start, start + 9.5) for start in np.arange(0, 120, 10.0)]
    voice = voiced(120, *pauses)
    windows = Speech(audio(voice), voice).windows()
    assert len(windows) == 5
    for window in windows[1:]:
        at = window.start * FEATURE_SAMPLES / SAMPLE_RATE
        assert 9.5 <= at % 10 < 10


def test_speech_of_one_window_stays_whole() -> None:
    voice = voiced(40, (1, 12), (20, 37))
    speech = Speech(audio(voice), voice)
    [window] = speech.windows()
    assert window.end * FEATURE_SAMPLES == pytest.approx(len(speech.samples), abs=FEATURE_SAMPLES)


@given(st.lists(st.tuples(st.floats(0.05, 40), st.floats(0.05, 5)), max_size=12))
def test_windows_cover_all_speech_and_none_is_too_long(turns: list[tuple[float, float]]) -> None:
    spans, clock = [], 0.0
    for speaking, silent in turns:
        spans.append((clock, clock + speaking))
        clock += speaking + silent
    voice = voiced(clock, *spans)
    speech = Speech(audio(voice), voice)
    windows = speech.windows()
    assert [window.start for window in windows[1:]] == [window.end for window in windows[:-1]]
    assert all(0 < window.end - window.start <= WINDOW_SECONDS * SAMPLE_RATE / FEATURE_SAMPLES for window in windows)
    covered = sum(window.end - window.start for window in windows) * FEATURE_SAMPLES
    assert len(speech.samples) - covered < FEATURE_SAMPLES or not len(speech.samples)


def test_words_come_back_to_where_they_were_said() -> None:
    voice = voiced(60, (10, 12), (40, 42))
    speech = Speech(audio(voice), voice)
    words = [Word(0.5, 0.9, " One", 0.9), Word(3.3, 3.7, " two", 0.9)]
    restored = speech.restored(Segment(0.5, 3.7, "One two", words))
    assert [(word.start, word.end) for word in restored.words] == [
        pytest.approx((10.1, 10.5), abs=0.05),
        pytest.approx((40.1, 40.5), abs=0.05),
    ]
    assert (restored.start, restored.end) == (restored.words[0].start, restored.words[-1].end)
