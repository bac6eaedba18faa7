"""Where a stream is cut: synthetic audio and probabilities, no model."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.transcriber.cutter import Cut, Cutter, choose_cut
from services.transcriber.pcm import to_s16
from services.transcriber.voice import FRAME, FRAME_SECONDS

Floats = npt.NDArray[np.float32]


def frames(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def stream(*parts: tuple[float, float]) -> tuple[Floats, Floats]:
    """Audio and probabilities of (seconds, probability) parts; every sample differs from its neighbours."""
    probabilities = np.concatenate([np.full(frames(s), p, np.float32) for s, p in parts])
    samples = (np.random.default_rng(7).uniform(-0.5, 0.5, len(probabilities) * FRAME)).astype(np.float32)
    return samples, probabilities


def cuts(cutter: Cutter, samples: Floats, probabilities: Floats, *, batch: int = 64) -> list[Cut]:
    def run() -> Iterator[Cut]:
        for start in range(0, len(probabilities), batch):
            stop = start + batch
            yield from cutter.feed(samples[start * FRAME : stop * FRAME], probabilities[start:stop])
        yield from cutter.finish()

    return list(run())


def test_it_is_cut_in_the_middle_of_the_longest_silence_of_the_window() -> None:
    samples, probabilities = stream((7, 0.9), (0.3, 0.1), (2, 0.9), (1, 0.1), (1, 0.9), (0.5, 0.1), (6, 0.9))
    found = cuts(Cutter(slice_seconds=10, first_slice_seconds=10), samples, probabilities)
    assert found[0].end / 16_000 == pytest.approx(9.8, abs=0.05)


def test_a_silence_before_the_window_is_not_taken() -> None:
    samples, probabilities = stream((3, 0.9), (2, 0.0), (4, 0.9), (0.3, 0.0), (10, 0.9))
    found = cuts(Cutter(slice_seconds=10, first_slice_seconds=10), samples, probabilities)
    assert found[0].end / 16_000 == pytest.approx(9.15, abs=0.05)


def test_without_a_silence_it_is_cut_where_it_is_quietest_and_nothing_is_lost() -> None:
    samples, probabilities = stream((20, 0.9))
    samples[frames(8.5) * FRAME : frames(8.8) * FRAME] *= 0.05
    found = cuts(Cutter(slice_seconds=10, first_slice_seconds=10), samples, probabilities)
    assert found[0].end / 16_000 == pytest.approx(8.65, abs=0.1)
    assert np.array_equal(np.concatenate([cut.samples for cut in found]), to_s16(samples))


def test_a_pause_within_a_word_is_no_silence() -> None:
    probabilities = np.full(400, 0.9, np.float32)
    probabilities[300:303] = 0.0
    loudness = np.full(400, 0.5, np.float32)
    loudness[340:350] = 0.01
    assert 340 <= choose_cut(probabilities, loudness, 200, 400, 330) < 350


def test_between_equal_silences_the_one_nearest_to_the_target_is_taken() -> None:
    probabilities = np.full(400, 0.9, np.float32)
    for start in (210, 300, 380):
        probabilities[start : start + 10] = 0.0
    assert choose_cut(probabilities, np.ones(400, np.float32), 200, 400, 320) == 305


def test_a_stretch_without_speech_is_skipped_and_keeps_its_time() -> None:
    samples, probabilities = stream((30, 0.0), (5, 0.9), (1, 0.0))
    found = cuts(Cutter(slice_seconds=10, first_slice_seconds=10), samples, probabilities)
    assert [cut.index for cut in found] == list(range(len(found)))
    assert found[0].start > 0
    assert found[0].start <= 30 * 16_000 <= found[0].end
    assert sum(cut.speech_seconds for cut in found) == pytest.approx(5, abs=0.1)


def test_silence_alone_gives_nothing() -> None:
    assert cuts(Cutter(slice_seconds=10, first_slice_seconds=10), *stream((60, 0.0))) == []


def test_a_blip_is_no_speech() -> None:
    assert cuts(Cutter(slice_seconds=10, first_slice_seconds=10), *stream((5, 0.0), (0.064, 0.9), (5, 0.0))) == []


def test_the_first_slices_are_short() -> None:
    parts = [part for _ in range(200) for part in ((1.5, 0.9), (0.5, 0.0))]
    found = cuts(Cutter(slice_seconds=100, first_slice_seconds=10), *stream(*parts))
    lengths = [(cut.end - cut.start) / 16_000 for cut in found[:-1]]
    for length, target in zip(lengths, (10, 20, 40, 80, 100), strict=False):
        assert 0.6 * target - 0.1 <= length <= 1.2 * target + 0.1


speech_or_not = st.lists(st.tuples(st.floats(0.1, 9), st.sampled_from([0.0, 0.2, 0.6, 0.95])), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(parts=speech_or_not, batch=st.integers(1, 90), cut_off=st.integers(0, FRAME - 1))
def test_slices_cover_all_speech_in_order_whatever_the_batches(
    parts: list[tuple[float, float]], batch: int, cut_off: int
) -> None:
    samples, probabilities = stream(*parts)
    samples = samples[: max(1, len(samples) - cut_off)]
    found = cuts(Cutter(slice_seconds=5, first_slice_seconds=5), samples, probabilities, batch=batch)
    covered = np.zeros(len(samples), bool)
    for before, after in pairwise(found):
        assert before.end <= after.start
    for cut in found:
        assert np.array_equal(cut.samples, to_s16(samples[cut.start : cut.end]))
        covered[cut.start : cut.end] = True
    lost = sum(int(not covered[i * FRAME]) for i in np.flatnonzero(probabilities >= 0.5))
    # What is left out is less than a word, once for each skipped stretch.
    assert lost <= 3 * (len(samples) / FRAME / frames(3) + 1)
    again = cuts(Cutter(slice_seconds=5, first_slice_seconds=5), samples, probabilities, batch=33)
    assert [(c.start, c.end) for c in again] == [(c.start, c.end) for c in found]


@settings(max_examples=40, deadline=None)
@given(parts=speech_or_not, data=st.data())
def test_going_on_after_any_slice_gives_the_slices_that_were_missing(
    parts: list[tuple[float, float]], data: st.DataObject
) -> None:
    samples, probabilities = stream(*parts)
    whole = cuts(Cutter(slice_seconds=5, first_slice_seconds=2.5), samples, probabilities)
    there = data.draw(st.integers(0, len(whole)))
    start = whole[there - 1].end if there else 0
    resumed = Cutter(slice_seconds=5, first_slice_seconds=2.5, first_index=there, start=start)
    rest = cuts(resumed, samples, probabilities)
    assert [(c.index, c.start, c.end) for c in rest] == [(c.index, c.start, c.end) for c in whole[there:]]
