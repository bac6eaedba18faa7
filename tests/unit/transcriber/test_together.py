"""Stretches of audio that are heard in one window."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.transcript import Segment, Word
from services.transcriber.missing import Missing
from services.transcriber.pcm import SAMPLE_RATE
from services.transcriber.together import Together, grouped
from services.transcriber.voice import FRAME
from services.transcriber.windows import Speech


def stretch(start: float, seconds: float, *, alone: bool = False) -> Missing:
    return Missing(start, start + seconds, alone)


def test_short_stretches_are_heard_together_and_in_order() -> None:
    stretches = [stretch(start, 4) for start in range(0, 100, 10)]

    groups = grouped(stretches)

    assert [each for group in groups for each in group] == stretches
    assert [len(group) for group in groups] == [5, 5]


def test_a_stretch_amid_silence_and_one_too_long_for_company_are_heard_by_themselves() -> None:
    short, lone, other, long = stretch(0, 3), stretch(10, 1, alone=True), stretch(20, 3), stretch(30, 40)

    assert grouped([short, lone, other, long, stretch(80, 2)]) == [[short], [lone], [other], [long], [stretch(80, 2)]]


def test_nothing_missing_makes_no_group() -> None:
    assert grouped([]) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_words_get_their_time_in_the_whole_audio_back(number: int) -> None:
    starts, seconds = [10.0, 50.0, 83.2], 4.0
    samples = np.zeros(100 * SAMPLE_RATE, np.float32)
    voice = np.zeros(-(-len(samples) // FRAME), np.float32)
    for start in starts:
        spoken = slice(int(start * SAMPLE_RATE), int((start + seconds) * SAMPLE_RATE))
        samples[spoken] = start
        voice[spoken.start // FRAME + 1 : spoken.stop // FRAME] = 1.0
    together = Together(samples, voice, [stretch(start, seconds) for start in starts])
    heard = np.flatnonzero(together.samples == np.float32(starts[number]))
    begin, end = heard[0] / SAMPLE_RATE, heard[-1] / SAMPLE_RATE

    found = together.restored(Segment(begin, end, "word", [Word(begin, end, "word", 1.0)]))

    assert (found.start, found.end) == pytest.approx((starts[number], starts[number] + seconds), abs=0.04)
    assert (found.words[0].start, found.words[0].end) == (found.start, found.end)
    assert len(together.voice) == -(-len(together.samples) // FRAME)


def test_a_group_fits_into_one_window() -> None:
    samples = np.ones(400 * SAMPLE_RATE, np.float32)
    stretches = [stretch(float(start), 3.3) for start in range(3, 300, 20)]
    voice = np.zeros(-(-len(samples) // FRAME), np.float32)
    for one in stretches:
        voice[int(one.start * SAMPLE_RATE / FRAME) + 1 : int(one.end * SAMPLE_RATE / FRAME)] = 1.0

    for group in grouped(stretches):
        together = Together(samples, voice, group)
        assert len(Speech(together.samples, together.voice).windows()) == 1


def test_a_stretch_may_reach_to_the_end_of_the_audio() -> None:
    samples = np.ones(5 * SAMPLE_RATE, np.float32)
    voice = np.ones(-(-len(samples) // FRAME), np.float32)

    together = Together(samples, voice, [Missing(1.024, float("inf"), False)])

    assert len(together.samples) == len(samples) - round(1.024 * SAMPLE_RATE)
