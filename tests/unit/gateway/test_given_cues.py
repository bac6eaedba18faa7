"""Cues a person brought: their own times, over each other where they were, and never a word at a time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import subtitles
from services.common.transcript import Segment, SliceTranscript, Word
from services.gateway import captions, transcript_form
from services.gateway.caption_lines import LINE_COLUMNS, LINES, broken, columns
from services.gateway.cue_times import cues_of
from services.gateway.cues import CUE_SECONDS

Row = tuple[float, float, str]


def shown(*rows: Row) -> list[Row]:
    return [(cue.start, cue.end, " ".join(cue.lines)) for cue in cues_of([Segment(*row) for row in rows])]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [(0.0, 6.5, "First alpaca"), (2.0, 9.0, "Second buffalo"), (3.0, 8.0, "Third")], id="three at once"
        ),
        pytest.param(
            [(0.0, 6.0, "Of the whole scene."), (1.0, 3.0, "One."), (4.0, 6.0, "Two.")], id="within a long one"
        ),
        pytest.param([(0.0, 3.0, "Hello my good friends."), (2.8, 6.0, "Of walnuts.")], id="slightly"),
        pytest.param([(0.0, 2.0, "same"), (0.0, 2.0, "same"), (0.0, 2.0, "other")], id="at the same time"),
        pytest.param([(1.0, 1.3, "Yes."), (1.3, 1.6, "No."), (5.0, 5.2, "Oh.")], id="short ones"),
    ],
)
def test_cues_stay_as_they_were_given(rows: list[Row]) -> None:
    assert shown(*rows) == rows


def test_long_ones_that_overlap_are_shown_from_their_starts() -> None:
    rows = [(0.0, 10.0, "First alpaca"), (2.0, 12.0, "Second buffalo"), (3.0, 11.0, "Third chinchilla")]
    assert shown(*rows) == [(start, start + CUE_SECONDS, text) for start, _, text in rows]


def test_one_who_is_interrupted_is_read_to_the_end() -> None:
    text = "WEBVTT\n\n00:00.000 --> 00:06.000\n<v Ann>I think the answer to your question is rather long.\n\n"
    given_ones = transcript_form.read(f"{text}00:01.000 --> 00:03.000\n<v Bob>Wait.\n".encode(), "vtt", max_segments=9)
    ann, bob = cues_of(given_ones.segments)
    assert (ann.speaker, ann.start, ann.end) == ("Ann", 0.0, 6.0)
    assert (bob.speaker, bob.start, bob.end) == ("Bob", 1.0, 3.0)


def test_a_cue_with_a_given_one_over_it_stays_as_long_as_its_words() -> None:
    heard = Segment(0.0, 4.0, "What was heard.", confidence=0.9)
    cues = list(cues_of([heard, Segment(1.0, 2.0, "A note."), Segment(9.0, 9.5, "Another.")]))
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 4.0), (1.0, 2.0), (9.0, 9.5)]


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_what_fits_into_two_lines_is_one_cue_however_long(confidence: float | None) -> None:
    (cue,) = cues_of([Segment(5.0, 65.0, "Thank you all for coming here today.", confidence=confidence)])
    assert (cue.start, cue.end, cue.lines) == (5.0, 12.0, ["Thank you all for coming here today."])


def test_more_than_two_lines_over_minutes_are_a_few_cues() -> None:
    text = "The yeast eats the sugar and gives off gas. That makes the bread rise. And then we bake it for an hour."
    cues = list(cues_of([Segment(0.0, 120.0, text)]))
    assert len(cues) == 2
    assert " ".join(" ".join(cue.lines) for cue in cues) == text
    assert all(cue.lines[-1].endswith(".") and cue.end - cue.start == pytest.approx(7.0) for cue in cues)
    assert cues[1].start > 40  # about when it is said


def test_times_of_former_words_do_not_move_a_cue() -> None:
    text = "My fellow wolverines, ask not what your country can do for you"
    words = [Word(600.83 + n * 0.5, 601.2 + n * 0.5, f" {word}", 1.0) for n, word in enumerate(text.split())]
    segment = Segment(600.0, 610.0, text, words)
    (cue,) = cues_of([segment])
    assert (cue.start, cue.end) == (600.0, 607.0)
    (cue,) = cues_of([Segment(600.0, 605.0, text, words)])
    assert (cue.start, cue.end) == (600.0, 605.0)
    vtt = captions.to_vtt([SliceTranscript("vid_x", "00000", 0, 900, "en", 1, "base", [segment])], words=True)
    stamps = [float(found) for found in re.findall(r"<00:10:([\d.]+)>", vtt)]
    assert stamps
    assert all(0 < stamp < 7 for stamp in stamps)


def test_a_cue_without_length_can_be_read() -> None:
    assert shown((3.0, 3.0, "Boo!")) == [(3.0, 3.9, "Boo!")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("- Hello - Again", ["- Hello", "- Again"]),
        ("-Hello. -Again.", ["-Hello.", "-Again."]),
        ("– Well – no. – Yes!", ["– Well – no.", "– Yes!"]),
        ("- It costs 5 - 10 euros", ["- It costs 5 - 10 euros"]),
        ("It was - well - late", ["It was - well - late"]),
        ("- One - two - three", ["- One - two - three"]),
    ],
)
def test_each_of_two_who_talk_has_a_line(text: str, lines: list[str]) -> None:
    assert broken(text) == lines


def test_dialogue_comes_back_as_it_was_given() -> None:
    given_ones = transcript_form.read(b"1\n00:00:01,000 --> 00:00:03,000\n- Hello\n- Again\n", "srt", max_segments=9)
    whole = [SliceTranscript("vid_x", "00000", 0, 900, "en", 1, "base", given_ones.segments)]
    assert captions.to_srt(whole) == "1\n00:00:01,000 --> 00:00:03,000\n- Hello\n- Again\n"
    assert "\n- Hello\n- Again\n" in captions.to_vtt(whole)


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="ab ,.-漢字é", min_size=1, max_size=150).filter(lambda text: bool(text.split())),
            st.integers(0, 30),
            st.integers(0, 90),
        ),
        max_size=6,
    )
)
def test_whatever_is_given_is_complete_narrow_and_in_its_time(rows: list[tuple[str, int, int]]) -> None:
    for text, start, length in rows:
        own = list(cues_of([Segment(start, start + length, text)]))
        assert re.sub(r"\s", "", "".join("".join(cue.lines) for cue in own)) == re.sub(r"\s", "", text)
        assert all(len(cue.lines) <= LINES and max(map(columns, cue.lines)) <= LINE_COLUMNS for cue in own)
        assert all(0 < cue.end - cue.start <= CUE_SECONDS + 1e-6 for cue in own)
        assert own[0].start == start
        if length:
            assert own[-1].end <= start + length + 0.1
    # Each has the cues it would have alone.
    alone = [cue for text, start, length in rows for cue in cues_of([Segment(start, start + length, text)])]
    together = list(cues_of([Segment(start, start + length, text) for text, start, length in rows]))
    assert together == sorted(alone, key=lambda cue: cue.start)
    vtt = captions.to_vtt([SliceTranscript("v", "0", 0, 900, "", 0, "", [Segment(s, s + n, t) for t, s, n in rows])])
    if rows:
        assert len(subtitles.read_vtt(vtt).lines) == len(together)
