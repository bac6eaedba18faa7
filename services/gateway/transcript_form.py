"""A transcript somebody has written or corrected, as WebVTT, SubRip or JSON, checked as an import is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from earmark import subtitles
from services.common.errors import InvalidArgument
from services.common.transcript import SUSPICIONS, Segment, Word
from services.gateway.import_form import Line, checked_language, checked_segments, line_of

MEDIA_TYPES = {
    "text/vtt": "vtt",
    "application/x-subrip": "srt",
    "application/srt": "srt",
    "text/srt": "srt",
    "application/json": "json",
}
"""What a transcript may be sent as."""

_FIELDS = {"segments", "language", "video_id", "complete", "revision"}
_LINE_FIELDS = {"start", "end", "text", "speaker"}
# What an export has besides; a file that was fetched, changed and sent back is understood.
_OTHER_FIELDS = {
    "segment_id", "words", "suspect", "language", "confidence", "speech_share",
    "average_log_probability", "no_speech_probability", "compression_ratio",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GivenTranscript:
    """A transcript that was sent. `segments` are in order of their starts; `language` may be empty."""

    segments: list[Segment]
    language: str


def read(body: bytes | bytearray, form: str, *, max_segments: int) -> GivenTranscript:
    """Reads a transcript.

    Args:
        body: What was sent.
        form: vtt, srt or json.
        max_segments: How many segments or cues there may be.

    Raises:
        InvalidArgument: It is not in that form, or something in it is wrong.
    """
    if form == "json":
        return _read_json(body, max_segments)
    try:
        text = bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"the captions are not UTF-8 (byte {error.start}); save them as UTF-8", field="body"
        ) from None
    try:
        found = subtitles.read_vtt(text) if form == "vtt" else subtitles.read_srt(text)
    except subtitles.NotCaptions as error:
        raise InvalidArgument(f"the captions cannot be read: {error}", field="body") from None
    return GivenTranscript(checked_segments(found.lines, max_segments), checked_language(found.language))


def suspicion(value: Any, name: str) -> str:
    """Gives why nobody may have said something; true stands for a person's word, false for none.

    Raises:
        InvalidArgument: It is no reason there is.
    """
    if value is None or value is False or value == "":
        return ""
    if value is True:
        return "marked"
    if not isinstance(value, str) or value not in SUSPICIONS:
        raise InvalidArgument(f"{name} must be true, false or one of {', '.join(SUSPICIONS)}", field=name)
    return value


def _read_json(body: bytes | bytearray, max_segments: int) -> GivenTranscript:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON (NaN and Infinity are none): {error}", field="body") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("segments"), list):
        raise InvalidArgument(
            'the transcript must be a JSON object such as {"segments": [{"start": 0, "end": 2.5, "text": "…"}]}',
            field="body",
        )
    if unknown := fields.keys() - _FIELDS:
        raise InvalidArgument(f"there is no field {min(unknown)[:64]!r}; there are segments and language", field="body")
    return from_rows(fields["segments"], fields.get("language"), max_segments=max_segments)


def from_rows(rows: Iterable[Any], language: Any, *, max_segments: int) -> GivenTranscript:
    """Checks the segments of a transcript.

    Args:
        rows: A dictionary for each, such as the JSON has.
        language: Language spoken.
        max_segments: How many segments there may be.

    Raises:
        InvalidArgument: Something is wrong; the message says which segment, counted from 0.
    """
    lines: list[Line] = []
    more: dict[Line, Segment] = {}
    for index, row in enumerate(rows):
        if index > max_segments:
            break  # told below
        name = f"segments[{index}]"
        if isinstance(row, dict) and (unknown := row.keys() - _LINE_FIELDS - _OTHER_FIELDS):
            raise InvalidArgument(
                f"{name} has no field {min(unknown)[:64]!r}; it has start, end, text, speaker, suspect, "
                "words and language",
                field=name,
            )
        line = line_of(index, {key: row[key] for key in _LINE_FIELDS & row.keys()} if isinstance(row, dict) else row)
        lines.append(line)
        if isinstance(row, dict) and row.keys() & {"words", "suspect", "language"}:
            segment = Segment(
                line[0],
                line[1],
                "",
                words=_words(row.get("words"), name, line),
                suspect=suspicion(row.get("suspect"), f"{name}.suspect"),
                language=checked_language(_string(row.get("language"), f"{name}.language")),
            )
            more[_key(line[0], line[1], line[2])] = segment
    segments = checked_segments(lines, max_segments)
    return GivenTranscript(
        [_with(segment, more) for segment in segments], checked_language(_string(language, "language"))
    )


def _with(segment: Segment, more: Mapping[Line, Segment]) -> Segment:
    found = more.get(_key(segment.start, segment.end, segment.text))
    if found is None:
        return segment
    return replace(segment, words=found.words, suspect=found.suspect, language=found.language)


def _key(start: float, end: float, text: str) -> Line:
    return (round(start, 3), round(end, 3), " ".join(text.split()), "")


def _words(rows: Any, name: str, line: Line) -> list[Word]:
    """Reads words with their times; they must be those of the text, or the text was changed and they were not."""
    if rows is None:
        return []
    wrong = InvalidArgument(
        f'{name}.words must be a list such as [{{"start": 0, "end": 0.4, "text": "So"}}], in order and within the '
        "segment; or leave words out",
        field=f"{name}.words",
    )
    if not isinstance(rows, list) or len(rows) > len(line[2]) + 1:
        raise wrong
    words: list[Word] = []
    clock = 0.0
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise wrong
        times = row.get("start"), row.get("end"), row.get("probability", 1.0)
        if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times):
            raise wrong
        start, end, probability = map(float, times)
        # Recognizers' words stray a little beyond their segments.
        if not (clock - 1 <= start <= end <= line[1] + 2) or start < line[0] - 2:
            raise wrong
        clock = start
        words.append(Word(start, end, row["text"], probability))
    same = "".join("".join(word.text for word in words).split()) == "".join(line[2].split())
    return words if same else []


def _string(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a text", field=name)
    return value
