"""Transcripts as JSON, WebVTT, SubRip and text."""

from __future__ import annotations

import re
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.transcript import Segment, SliceTranscript, Word
from services.gateway import caption_lines, captions, cue_times


def transcript(*segments: Segment, slice_id: str = "00000") -> SliceTranscript:
    return SliceTranscript("vid_x", slice_id, 0.0, 300.0, "en", 0.9, "base", list(segments))


def spoken(text: str, start: float, each: float = 0.4) -> Segment:
    words = [Word(start + at * each, start + (at + 1) * each, f" {word}", 0.9) for at, word in enumerate(text.split())]
    return Segment(start, start + len(words) * each, f" {text}", words)


def test_vtt_is_exact() -> None:
    vtt = captions.to_vtt([transcript(spoken("Tom & <b>Jerry</b> --> run.", 3661.5))], language="en")
    assert vtt == (
        "WEBVTT\nLanguage: en\n\n01:01:01.500 --> 01:01:03.500\nTom &amp; &lt;b&gt;Jerry&lt;/b&gt; --&gt; run.\n"
    )


def test_srt_is_exact_and_numbered() -> None:
    srt = captions.to_srt([transcript(spoken("One & two.", 0.0), spoken("a --> b", 2.0))])
    assert srt == ("1\n00:00:00,000 --> 00:00:01,200\nOne & two.\n\n2\n00:00:02,000 --> 00:00:03,200\na → b\n")


def test_slices_are_put_in_order_of_time() -> None:
    late, early = transcript(spoken("later", 300.0), slice_id="00001"), transcript(spoken("sooner", 1.0))
    assert captions.to_txt([late, early]) == "sooner\n\nlater\n"


def test_long_segments_are_split_at_words_with_their_times() -> None:
    text = "This sentence goes on for quite a while, and then it goes on for a good deal more without any end in sight."
    cues = list(cue_times.cues_of([spoken(text, 10.0, each=0.3)]))
    assert len(cues) > 1
    assert " ".join(" ".join(cue.lines) for cue in cues) == text
    assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in cues)
    assert cues[0].start == pytest.approx(10.0)
    assert cues[1].start == pytest.approx(cues[0].end)


def test_segments_without_words_get_times_in_proportion() -> None:
    cues = list(cue_times.cues_of([Segment(0.0, 20.0, "word " * 40)]))
    assert cues[0].start == 0.0
    assert cues[-1].end == pytest.approx(20.0)
    assert all(cue.end - cue.start <= 7.5 for cue in cues)


def test_wide_scripts_take_two_columns() -> None:
    text = (
        "これは句読点のない非常に長い日本語の文章であり字幕の行は二十一文字まで"
        "しか入りませんので必ず折り返されなければなりません"
    )
    cues = list(cue_times.cues_of([Segment(0.0, 12.0, text)]))
    assert "".join("".join(cue.lines) for cue in cues) == text
    assert all(len(line) <= 21 for cue in cues for line in cue.lines)


def test_what_a_recognizer_heard_gives_cues_that_do_not_overlap() -> None:
    heard = [Segment(0.0, 5.0, "first", confidence=0.9), Segment(3.0, 6.0, "second", confidence=0.9)]
    cues = list(cue_times.cues_of(heard))
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 3.0), (3.0, 6.0)]


def test_text_has_paragraphs_at_pauses() -> None:
    text = captions.to_txt([transcript(spoken("One.", 0.0), spoken("Two.", 1.0), spoken("Three.", 9.0))])
    assert text == "One. Two.\n\nThree.\n"


def test_nothing_said_is_still_a_valid_file() -> None:
    assert captions.to_vtt([]) == "WEBVTT\n"
    assert captions.to_srt([]) == ""
    assert captions.to_txt([transcript()]) == ""
    assert captions.to_json("vid_x", [], language=None, complete=True)["segments"] == []


def test_json_has_all_the_recognizer_knew() -> None:
    segment = Segment(1.0, 2.0, " hi", [Word(1.0, 2.0, " hi", 0.5)], -0.3, 0.01, 1.2)
    shown = captions.to_json("vid_x", [transcript(segment)], language="en", complete=False)
    assert orjson.loads(orjson.dumps(shown)) == {
        "video_id": "vid_x",
        "language": "en",
        "complete": False,
        "revision": 0,
        "segments": [
            {
                "segment_id": "00000.0",
                "start": 1.0,
                "end": 2.0,
                "text": " hi",
                "words": [{"start": 1.0, "end": 2.0, "text": " hi", "probability": 0.5}],
                "average_log_probability": -0.3,
                "no_speech_probability": 0.01,
                "compression_ratio": 1.2,
                "speaker": "",
                "language": "",
                "speech_share": None,
                "confidence": None,
                "suspect": "",
            }
        ],
    }


@given(
    st.lists(
        st.tuples(st.text(alphabet="ab ,.漢字é", min_size=1, max_size=120), st.floats(0, 50), st.floats(0, 30)),
        max_size=6,
    )
)
def test_cues_are_in_order_narrow_and_complete(rows: list[tuple[str, float, float]]) -> None:
    segments = sorted(
        (Segment(start, start + length, text, confidence=0.9) for text, start, length in rows),
        key=lambda s: (s.start, s.end),
    )
    cues = list(cue_times.cues_of(segments))
    assert all(cue.start < cue.end for cue in cues)
    assert all(first.end <= second.start for first, second in pairwise(cues))
    assert all(len(cue.lines) <= caption_lines.LINES for cue in cues)
    assert all(caption_lines.columns(line) <= caption_lines.LINE_COLUMNS for cue in cues for line in cue.lines)
    letters = re.sub(r"\s", "", "".join(segment.text for segment in segments))
    assert re.sub(r"\s", "", "".join("".join(cue.lines) for cue in cues)) == letters


def test_vtt_names_speakers_where_they_are_known() -> None:
    segments = [Segment(0.0, 2.0, "Hello.", speaker="Ann <3"), Segment(2.0, 4.0, "Hi.")]
    shown = captions.to_vtt([transcript(*segments)])
    assert shown.endswith("00:00:00.000 --> 00:00:02.000\n<v Ann &lt;3>Hello.\n\n00:00:02.000 --> 00:00:04.000\nHi.\n")
