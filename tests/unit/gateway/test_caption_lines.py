"""Lines and cues as captioning guides ask, and files that come back as they went."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark import subtitles
from services.common.transcript import Segment, SliceTranscript, Word
from services.gateway import captions, cue_times, cues, transcript_form


def transcript(*segments: Segment) -> SliceTranscript:
    return SliceTranscript("vid_x", "00000", 0.0, 300.0, "en", 0.9, "base", list(segments))


def spoken(text: str, start: float = 0.0, each: float = 0.35) -> Segment:
    words = [Word(start + n * each, start + (n + 1) * each, f" {word}", 0.9) for n, word in enumerate(text.split())]
    return Segment(start, words[-1].end, text, words, confidence=0.9)


def heard(start: float, end: float, text: str, speaker: str = "") -> Segment:
    return Segment(start, end, text, speaker=speaker, confidence=0.9)


def test_a_line_ends_where_a_clause_does() -> None:
    (cue,) = cue_times.cues_of([spoken("When the oven is hot enough, we put the loaves in one by one.")])
    assert cue.lines == ["When the oven is hot enough,", "we put the loaves in one by one."]
    (cue,) = cue_times.cues_of([spoken("We put every one of the loaves into the oven and then we wait.")])
    assert cue.lines[1].split()[0] in {"into", "and"}


def test_a_cue_ends_with_its_sentence() -> None:
    text = "The yeast eats the sugar. That makes the bread rise. And that is all that there is to say about it today."
    shown = list(cue_times.cues_of([spoken(text)]))
    assert len(shown) > 1
    assert all(cue.lines[-1].endswith(".") for cue in shown)


def test_a_word_said_quickly_stays_until_it_is_read_but_never_into_the_next() -> None:
    shown = cue_times.cues_of([heard(0.0, 0.2, "Yes."), heard(5.0, 5.3, "No."), heard(6.0, 9.0, "Perhaps.")])
    assert [(cue.start, cue.end) for cue in shown] == [(0.0, 0.9), (5.0, 5.9), (6.0, 9.0)]
    crowded = list(cue_times.cues_of([heard(0.0, 0.2, "Yes."), heard(0.3, 2.0, "No.")]))
    assert [cue.lines for cue in crowded] == [["Yes. No."]]  # together, rather than one that flashes by
    others = list(cue_times.cues_of([heard(0.0, 0.5, "Yes.", "A"), heard(0.5, 3.0, "No.", "B")]))
    assert [cue.speaker for cue in others] == ["A", "B"]


def test_two_who_talk_at_once_are_both_read() -> None:
    first, second = cue_times.cues_of([heard(0.0, 3.0, "I think so.", "A"), heard(0.1, 3.0, "I do not.", "B")])
    assert [(cue.start, cue.end) for cue in (first, second)] == [(0.0, 3.0), (0.1, 3.0)]


def test_speech_at_an_ordinary_rate_can_be_read() -> None:
    rng = random.Random(5)
    letters = [
        rng.choice(["sun", "baker", "rises", "and", "the", "very", "morning,", "slowly.", "of"]) for _ in range(900)
    ]
    shown = list(
        cue_times.cues_of([spoken(" ".join(letters[n : n + 30]), n * 0.4, each=0.4) for n in range(0, 900, 30)])
    )
    rates = [sum(map(len, cue.lines)) / (cue.end - cue.start) for cue in shown]
    assert max(rates) <= 20
    assert min(cue.end - cue.start for cue in shown) >= 0.79
    assert all(cue.end - cue.start <= cues.CUE_SECONDS + 0.5 for cue in shown)


def test_chinese_has_sixteen_characters_a_line_and_no_line_begins_with_a_comma() -> None:
    text = (
        "今天我们来讲面包是怎么发起来的，酵母吃掉了糖，然后产生了气体，"
        "面团就慢慢地变大了。最后我们把它放进烤箱里面烤熟就可以吃了。"
    )
    shown = list(cue_times.cues_of([Segment(0.0, 20.0, text)]))
    lines = [line for cue in shown for line in cue.lines]
    assert "".join(lines) == text
    assert all(len(line) <= 16 for line in lines)
    assert not [line for line in lines if line[0] in "，。"]


def test_words_have_their_times_in_vtt() -> None:
    vtt = captions.to_vtt([transcript(spoken("Tom & Jerry run.", 1.0, each=0.5))], words=True)
    assert vtt == (
        "WEBVTT - word by word\n\n00:00:01.000 --> 00:00:03.000\n"
        "<c>Tom</c> <00:00:01.500><c>&amp;</c> <00:00:02.000><c>Jerry</c> <00:00:02.500><c>run.</c>\n"
    )
    named = captions.to_vtt([transcript(Segment(0.0, 2.0, "Hi there.", speaker="Ann"))], words=True)
    assert "<v Ann><c>Hi</c> <" in named


def test_the_same_word_again_and_again_comes_back_as_often() -> None:
    said = [Segment(n * 2.0, n * 2.0 + 1.5, "No, no.") for n in range(4)]
    read = subtitles.read_vtt(captions.to_vtt([transcript(*said)], words=True))
    assert [line.text for line in read.lines] == ["No, no."] * 4


TEXT = st.text(alphabet="ab c,.漢字é&<>", min_size=1, max_size=150).filter(lambda text: bool(text.split()))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(TEXT, st.floats(0, 3), st.floats(0.01, 30), st.sampled_from(["", "Ann"])), min_size=1, max_size=5
    )
)
@pytest.mark.parametrize("form", ["vtt", "words", "srt"])
def test_files_come_back_as_they_went(form: str, rows: list[tuple[str, float, float, str]]) -> None:
    segments, at = [], 0.0
    for text, pause, length, who in rows:
        segments.append(Segment(round(at + pause, 3), round(at + pause + length, 3), text, speaker=who))
        at = segments[-1].end
    whole = [transcript(*segments)]
    shown = list(cue_times.cues_of(segments))
    written = captions.to_srt(whole) if form == "srt" else captions.to_vtt(whole, words=form == "words")
    read = subtitles.read_srt(written) if form == "srt" else subtitles.read_vtt(written)
    if form == "srt":  # it has no escapes, and no names
        assert len(read.lines) <= len(shown)
        return
    assert [re.sub(r"\s", "", line.text) for line in read.lines] == [
        re.sub(r"\s", "", "".join(cue.lines)) for cue in shown
    ]
    assert [line.speaker for line in read.lines] == [cue.speaker for cue in shown]
    for line, cue in zip(read.lines, shown, strict=True):
        assert line.start == pytest.approx(cue.start, abs=0.0006)
        assert line.end == pytest.approx(cue.end, abs=0.0006)
    assert all(first.end <= second.start + 1e-9 for first, second in pairwise(read.lines))


def test_json_comes_back_with_all_that_is_in_it() -> None:
    said = [spoken("The yeast eats the sugar.", 1.0), Segment(9.0, 11.0, "Thanks.", suspect="phantom", speaker="Ann")]
    shown = captions.to_json("vid_x", [transcript(*said)], language="en", complete=True, revision=2)
    given = transcript_form.read(orjson.dumps(shown), "json", max_segments=100)
    assert given.language == "en"
    assert [(one.start, one.end, one.text, one.speaker, one.suspect) for one in given.segments] == [
        (one.start, one.end, one.text, one.speaker, one.suspect) for one in said
    ]
    assert given.segments[0].words == said[0].words
