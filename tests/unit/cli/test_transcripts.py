"""Transcripts in the forms people have them in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from earmark.cli.transcripts import Problem, Transcript, read
from earmark.client import TranscriptLine

LINES = [{"start": 0, "end": 2.5, "text": "Hello."}, {"start": 2.5, "end": 3, "text": "Hi.", "speaker": "Ann"}]
READ = [TranscriptLine(0.0, 2.5, "Hello."), TranscriptLine(2.5, 3.0, "Hi.", "Ann")]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def only(path: Path) -> Transcript:
    (found,) = read(path)
    assert isinstance(found, Transcript), found
    return found


def rows(video: str, *texts: str, **more: Any) -> list[dict[str, Any]]:
    return [{"video": video, "start": n, "end": n + 1, "text": text, **more} for n, text in enumerate(texts)]


# ── WebVTT and SubRip ────────────────────────────────────────────────────────────────────────────


def test_vtt_with_all_that_may_stand_in_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "How_bread rises.vtt",
        "\ufeffWEBVTT - a title\nKind: captions\nLanguage: en-GB\n",
        "STYLE\n::cue { color: red --> }\n",
        "NOTE\n00:00.000 --> 00:01.000 is no cue\n",
        "first\n00:01.000 --> 00:02.500 align:start position:10%\n"
        "<v.loud Ann O&apos;Neil>Yeast <i>eats</i>\nthe &lt;sugar&gt;.</v>\n",
        "01:00:00.000 --> 01:00:04.000\n<v Ann>Who? </v><v Bob>Me, of course</v>\n",
        "01:00:05.000 --> 01:00:06.000\n\n",
        "01:00:07.000 --> 01:00:08.000\nNobody named.",
    )
    found = only(path)
    assert (found.title, found.language, found.label) == ("How bread rises", "en", path.name)
    assert found.lines == [
        TranscriptLine(1.0, 2.5, "Yeast eats the <sugar>.", "Ann O'Neil"),
        TranscriptLine(3600.0, 3600.941, "Who?", "Ann"),
        TranscriptLine(3600.941, 3604.0, "Me, of course", "Bob"),
        TranscriptLine(3607.0, 3608.0, "Nobody named."),
    ]


def test_rolling_captions_are_said_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "auto.vtt",
        "WEBVTT\n",
        "00:00:00.000 --> 00:00:02.000\n \nso<00:00:00.500><c> today</c>\n",
        "00:00:02.000 --> 00:00:02.010\nso today\n",
        "00:00:02.010 --> 00:00:04.000\nso today\nwe<00:00:02.500><c> bake</c>\n",
    )
    assert [(line.start, line.text) for line in only(path).lines] == [(0.0, "so today"), (2.01, "we bake")]


def test_the_same_word_twice_is_said_twice_where_nothing_rolls(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vtt", "WEBVTT\n", "00:00.000 --> 00:01.000\nNo.\n", "00:01.000 --> 00:02.000\nNo.\n")
    assert [line.text for line in only(path).lines] == ["No.", "No."]


def test_srt(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(
        "1\r\n00:00:01,000 --> 00:00:02,500\r\n{\\an8}<i>Über</i>\r\nBrot\r\n\r\n"
        "2\r\n00:00:03,0 --> 00:00:04,250 X1:1\r\nJa.\r\n".encode()
    )
    assert only(path).lines == [TranscriptLine(1.0, 2.5, "Über Brot"), TranscriptLine(3.0, 4.25, "Ja.")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.vtt", "1\n00:00:01,000 --> 00:00:02,500\nx", "WEBVTT"),
        ("a.vtt", "WEBVTT\n", "no cues"),
        ("a.srt", "some text\n\nmore", "no cues"),
        ("a.srt", "1\n00:00:01,000 --> later\nx", "the times of cue 1 cannot be read"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"text": "x"}', "segments"),
        ("a.json", '{"segments": [{"start": 0, "end": 1}]}', "segments[0] has no text"),
        ("a.json", '{"segments": [{"start": "0", "end": 1, "text": "x"}]}', "start of segments[0]"),
        ("a.json", '{"segments": [{"start": NaN, "end": 1, "text": "x"}]}', "start of segments[0]"),
        ("a.json", '{"segments": [], "tags": "x"}', "tags"),
        ("a.json", '{"segments": [], "title": 1}', "title must be a text"),
        ("a.txt", "x", "not one of .json, .jsonl, .ndjson, .srt, .vtt"),
        ("a.vtt.gz", "WEBVTT", "gzip"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, name: str, text: str, message: str) -> None:
    (found,) = read(write(tmp_path / name, text))
    assert isinstance(found, Problem)
    assert message in found.message


def test_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,500\nÜber".encode("latin1"))
    (found,) = read(path)
    assert isinstance(found, Problem)
    assert "iconv" in found.message


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def test_json_of_a_video_of_several_and_of_a_recognizer(tmp_path: Path) -> None:
    one = only(write(tmp_path / "a_talk.json", {"segments": LINES}))
    assert (one.title, one.lines) == ("a talk", READ)
    found = list(read(write(tmp_path / "b.json", json.dumps([{"title": "A", "segments": LINES}, {"title": "B"}]))))
    assert [type(one).__name__ for one in found] == ["Transcript", "Problem"]
    assert found[1].label == "b.json[1]"
    whisper = {"text": "Hello.", "language": "en", "segments": [{"id": 0, "seek": 0, **LINES[0], "tokens": [1, 2]}]}
    assert only(write(tmp_path / "c.json", whisper)).lines == READ[:1]


def test_a_video_a_line(tmp_path: Path) -> None:
    full = {
        "title": "A",
        "url": "https://x/y",
        "language": "en",
        "collection": "talks",
        "tags": ["a"],
        "duration": 9,
        "external_id": "mine",
        "segments": LINES,
    }
    found = list(
        read(write(tmp_path / "a.jsonl", full, "", "nonsense", {"segments": 1}, {"title": "B", "segments": LINES}))
    )
    assert found[0] == Transcript("a.jsonl:1", "A", READ, "https://x/y", "en", "talks", ("a",), 9.0, "mine")
    assert [one.label for one in found[1:]] == ["a.jsonl:3", "a.jsonl:4", "a.jsonl:5"]
    assert [isinstance(one, Problem) for one in found] == [False, True, True, False]


def test_a_line_of_speech_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    given = [*rows("v1", "a", "b", title="One"), *rows("v2", "c"), {"title": "B", "segments": LINES}, *rows("v3", "d")]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, given)).encode()))
    found = [one for one in read(path) if isinstance(one, Transcript)]
    assert [(one.label, one.title, [line.text for line in one.lines]) for one in found] == [
        ("a.jsonl.gz:1", "One", ["a", "b"]),
        ("a.jsonl.gz:3", "v2", ["c"]),
        ("a.jsonl.gz:4", "B", ["Hello.", "Hi."]),
        ("a.jsonl.gz:5", "v3", ["d"]),
    ]


@pytest.mark.parametrize("broken", ["nonsense", {"video": "v2", "start": None, "end": 1, "text": "x"}, {"text": "x"}])
def test_a_broken_row_spoils_its_video_and_no_other(tmp_path: Path, broken: Any) -> None:
    given = [*rows("v1", "a"), *rows("v2", "b"), broken, *rows("v2", "c"), *rows("v3", "d")]
    found = list(read(write(tmp_path / "a.jsonl", *given)))
    assert [one.title for one in found if isinstance(one, Transcript)] == ["v1", "v3"]
    problems = [one.message for one in found if isinstance(one, Problem)]
    assert any("'v2' is left out: a.jsonl:3" in message for message in problems)


HALF = '{"title": "half \\ud800", "segments": [{"start": 0, "end": 1, "text": "x"}]}'
HALF_TEXT = '{"title": "T", "segments": [{"start": 0, "end": 1, "text": "x \\udfff"}]}'
HALF_TAG = '{"title": "T", "tags": ["\\ud800"], "segments": []}'
PAIR = '{"title": "whole \\ud83d\\ude00", "segments": []}'


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (HALF.encode(), "title holds half a character, \\ud800"),
        (HALF_TEXT.encode(), "text of segments[0] holds half a character, \\udfff"),
        (HALF_TAG.encode(), "tags holds half a character"),
        (b'{"title": "caf\xe9", "segments": []}', "line 2 is not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'{"title": "T", "segments": [{"start": 0, "end": 1%s, "text": "x"}]}' % (b"0" * 400), "no number of seconds"),
    ],
)
def test_a_line_that_cannot_be_read_keeps_no_other_back(tmp_path: Path, broken: bytes, told: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    whole = b"\xef\xbb\xbf" + b"\r\n".join(
        [json.dumps({"title": "A", "segments": LINES}).encode(), broken, PAIR.encode()]
    )
    path.write_bytes(gzip.compress(whole) if suffix.endswith("gz") else whole)
    first, problem, last = read(path)
    assert isinstance(first, Transcript)
    assert isinstance(last, Transcript)
    assert (first.title, last.title) == ("A", "whole \U0001f600")
    assert isinstance(problem, Problem)
    assert problem.label == f"{path.name}:2"
    assert told in problem.message


def test_a_file_that_is_not_utf8_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(b"1\r\n00:00:00,000 --> 00:00:01,000\r\ncaf\xe9\r\n")
    (problem,) = read(path)
    assert isinstance(problem, Problem)
    assert "line 3 is not UTF-8" in problem.message


def test_rows_with_half_a_character_spoil_their_video_and_no_other(tmp_path: Path) -> None:
    given = [*rows("v1", "a"), *rows("v2", "b", "\ud800"), *rows("v3", "d")]
    found = list(read(write(tmp_path / "a.jsonl", *given)))
    assert [one.title for one in found if isinstance(one, Transcript)] == ["v1", "v3"]
    (problem,) = [one for one in found if isinstance(one, Problem)]
    assert "a.jsonl:3: text of the row holds half a character" in problem.message


def test_rows_of_a_video_that_stand_apart_are_told(tmp_path: Path) -> None:
    found = list(read(write(tmp_path / "a.jsonl", *rows("v1", "a"), *rows("v2", "b"), *rows("v1", "c", "d"))))
    assert [one.title for one in found if isinstance(one, Transcript)] == ["v1", "v2"]
    (problem,) = [one for one in found if isinstance(one, Problem)]
    assert "sort the file by video" in problem.message


def test_a_file_cut_short_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(json.dumps({"title": str(n), "segments": LINES}) for n in range(5000)).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    found = list(read(path))
    assert len(found) > 100
    assert isinstance(found[-1], Problem)


def test_keys_are_of_the_content_and_not_of_its_place(tmp_path: Path) -> None:
    first = only(write(tmp_path / "a.json", {"title": "A", "segments": LINES}))
    again = only(write(tmp_path / "b.json", {"title": "A", "tags": ["x"], "segments": LINES}))
    other = only(write(tmp_path / "c.json", {"title": "A", "collection": "talks", "segments": LINES}))
    mine = only(write(tmp_path / "d.json", {"title": "A", "external_id": "mine", "segments": LINES}))
    assert first.key == again.key
    assert len({first.key, other.key, mine.key}) == 3
    assert mine.key == "mine"
