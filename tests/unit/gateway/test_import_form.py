"""What an import may say, and what is told when it is wrong."""

import json
from typing import Any

import pytest

from services.common.errors import InvalidArgument
from services.gateway.import_form import NewTranscript, read_json

LINE = {"start": 0.0, "end": 2.0, "text": "Bread rises."}


def read(**fields: Any) -> NewTranscript:
    return read_json(json.dumps({"title": "A talk", "segments": [LINE], **fields}).encode(), max_segments=1000)


def lines(*times: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "text": f"Line {n}."} for n, (start, end) in enumerate(times)]


def test_everything_that_can_be_said() -> None:
    new = read(
        url="https://example.org/talk",
        language="en-US",
        duration=10,
        collection="talks",
        tags=["bread", "bread "],
        external_id=" my-1 ",
        segments=[{**LINE, "speaker": "Ann"}, {"start": 2, "end": 5.5, "text": "Really?\nYes.", "speaker": None}],
    )
    assert (new.title, new.url, new.language, new.duration) == ("A talk", "https://example.org/talk", "en", 10.0)
    assert (new.collection, new.tags, new.external_id, new.speaker_count) == ("talks", ("bread",), "my-1", 1)
    assert [(s.start, s.end, s.text, s.speaker) for s in new.segments] == [
        (0.0, 2.0, "Bread rises.", "Ann"),
        (2.0, 5.5, "Really? Yes.", ""),
    ]


def test_what_is_not_said_is_unknown() -> None:
    new = read()
    assert (new.url, new.language, new.duration, new.speaker_count, new.external_id) == ("", "", 2.0, None, "")


def test_a_title_may_come_from_the_url() -> None:
    assert read(title="", url="https://example.org/How%20bread%20rises.mp4").title == "How bread rises"


def test_lines_without_a_word_are_left_out() -> None:
    new = read(segments=[{"start": 0, "end": 9, "text": " \n"}, LINE])
    assert [segment.text for segment in new.segments] == ["Bread rises."]


def test_a_little_disorder_is_mended_and_overlap_kept() -> None:
    new = read(segments=lines((0, 4), (10, 12), (6, 11), (12, 13)))
    assert [(segment.start, segment.end) for segment in new.segments] == [(0, 4), (6, 11), (10, 12), (12, 13)]


def test_subtitles_may_stay_a_little_longer_than_the_picture() -> None:
    assert read(duration=1.5).duration == 2.0


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"title": ""}, "title", "missing"),
        ({"title": "x" * 301}, "title", "at most 300"),
        ({"titel": "x"}, "titel", "there is no field"),
        ({"url": "javascript:alert(1)"}, "url", "http"),
        ({"url": "s3://bucket/key"}, "url", "http"),
        ({"language": "english"}, "language", "ISO 639"),
        ({"language": 5}, "language", "must be a text"),
        ({"duration": "10"}, "duration", "number"),
        ({"duration": -1}, "duration", "between"),
        ({"duration": 1e9}, "duration", "24 hours"),
        ({"segments": lines((0, 100)), "duration": 50}, "duration", "last segment ends at 100"),
        ({"collection": "a b"}, "collection", "'a-b' would do"),
        ({"tags": "bread"}, "tags", "list"),
        ({"tags": [1]}, "tags", "list"),
        ({"external_id": "x" * 257}, "external_id", "256"),
        ({"segments": []}, "segments", "empty"),
        ({"segments": [{**LINE, "text": " "}]}, "segments", "empty"),
        ({"segments": "text"}, "segments", "list"),
        ({"segments": None}, "segments", "list"),
        ({"segments": [LINE, "text"]}, "segments[1]", "object"),
        ({"segments": [LINE, {**LINE, "words": []}]}, "segments[1]", "words"),
        ({"segments": [LINE, {"start": 0, "end": 1}]}, "segments[1].text", "text"),
        ({"segments": [{**LINE, "start": None}]}, "segments[0].start", "number"),
        ({"segments": [{**LINE, "start": True}]}, "segments[0].start", "number"),
        ({"segments": [{**LINE, "end": "00:01"}]}, "segments[0].end", "number"),
        ({"segments": [{**LINE, "end": 10**30}]}, "segments[0].end", "24 hours"),
        ({"segments": [{**LINE, "speaker": 1}]}, "segments[0].speaker", "text"),
        ({"segments": [{**LINE, "speaker": "x" * 101}]}, "segments[0].speaker", "over 100"),
        ({"segments": lines((0, 1), (-1, 1))}, "segments[1].start", "before the beginning"),
        ({"segments": lines((0, 1), (5, 3))}, "segments[1].end", "ends at 3 s, before it starts at 5 s"),
        ({"segments": lines((0, 1), (90_000, 90_001))}, "segments[1].end", "24 hours"),
        ({"segments": lines((0, 1), (100, 101), (50, 51))}, "segments[2].start", "sort them"),
        ({"segments": lines((0, 500), (1, 2), (100, 101))}, "segments[1].start", "goes on until 500 s"),
        ({"segments": [{**LINE, "text": "x" * 10_001}]}, "segments[0].text", "10001 characters"),
        ({"segments": [LINE] * 1001}, "segments", "more than 1000 segments"),
        ({"segments": [{**LINE, "text": "word " * 1900}]}, "segments", "cannot be said"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read(**fields)
    assert refused.value.field == field
    assert message in refused.value.message


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'"text"', b'{"title": "x", "segments": [{"start": NaN, "end": 1, "text": "x"}]}']
)
def test_a_body_that_is_none(body: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_json(body, max_segments=1000)
    assert refused.value.field == "body"
