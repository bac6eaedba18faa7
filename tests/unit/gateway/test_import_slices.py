"""Slices of imported transcripts: nothing lost, nothing twice, no gap, about as long as asked."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.common.transcript import Segment
from services.gateway.import_slices import EARLIEST, LATEST, MAX_CHARACTERS, TranscriptSlice, cut

TARGET = 300.0


def sliced(segments: list[Segment], duration: float | None = None) -> list[TranscriptSlice]:
    end = max(segment.end for segment in segments)
    return list(cut(segments, duration=end if duration is None else duration, slice_seconds=TARGET))


def steady(count: int, seconds: float, text: str = "A line.") -> list[Segment]:
    return [Segment(n * seconds, (n + 1) * seconds, text) for n in range(count)]


@st.composite
def transcripts(draw: st.DrawFn) -> list[Segment]:
    clock, segments = 0.0, []
    for _ in range(draw(st.integers(1, 80))):
        clock += draw(st.sampled_from([0.0, 0.0, 0.5, 3.0, 200.0, 1000.0]))
        length = draw(st.sampled_from([0.0, 1.0, 20.0, 90.0, 500.0]))
        text = draw(st.sampled_from(["word", "A sentence.", "x" * 9000]))
        segments.append(Segment(clock, clock + length, text, speaker=draw(st.sampled_from(["", "Ann", "Bob"]))))
        clock += length * draw(st.sampled_from([0.5, 1.0]))
    return segments


@given(transcripts(), st.floats(0, 1000))
def test_slices_hold_everything_once_and_follow_each_other(segments: list[Segment], rest: float) -> None:
    duration = max(segment.end for segment in segments) + rest
    slices = sliced(segments, duration)
    assert [segment for part in slices for segment in part.segments] == segments
    assert (slices[0].start, slices[-1].end) == (0.0, duration)
    assert all(one.end == other.start for one, other in itertools.pairwise(slices))
    for part in slices:
        assert part.start <= part.end
        assert len(part.segments) == 1 or sum(len(segment.text) for segment in part.segments) <= MAX_CHARACTERS
        assert part.segments[-1].start <= part.start + LATEST * TARGET or len(part.segments) == 1


def test_lengths_are_those_of_slices_of_media() -> None:
    slices = sliced(steady(97, 37.0))
    assert all(EARLIEST * TARGET <= part.end - part.start <= LATEST * TARGET for part in slices[:-1])
    assert abs(slices[0].end - TARGET) <= 37.0 / 2


def test_a_short_rest_stays_with_its_slice() -> None:
    assert len(sliced(steady(10, 35.0))) == 1
    assert len(sliced([*steady(10, 30.0), Segment(300.0, 359.0, "The end.")])) == 1


def test_a_pause_is_preferred_and_a_new_sentence_or_speaker_before_that() -> None:
    plain = [Segment(n * 10.0, n * 10.0 + 10.0, "and then") for n in range(60)]
    with_pause = [*plain[:25], *(Segment(s.start + 2, s.end + 2, s.text) for s in plain[25:])]
    assert sliced(with_pause)[0].segments == with_pause[:25]
    with_sentence = [*with_pause[:27], Segment(272.0, 282.0, "that is all."), *with_pause[28:]]
    assert sliced(with_sentence)[0].segments == with_sentence[:28]
    with_speaker = [Segment(s.start, s.end, s.text, speaker="Ann" if s.start > 285 else "") for s in plain]
    assert sliced(with_speaker)[0].end == 290.0


def test_a_long_silence_ends_a_slice() -> None:
    slices = sliced([Segment(0.0, 10.0, "Hello."), Segment(5000.0, 5010.0, "Still there?")])
    assert [(part.start, part.end) for part in slices] == [(0.0, 5000.0), (5000.0, 5010.0)]
