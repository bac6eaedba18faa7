"""What an import says: a title and lines with times, checked so that everything behind can rely on it."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from services.common import urls
from services.common.errors import InvalidArgument
from services.common.transcript import Segment
from services.gateway.attributes import checked_collection, checked_tags, checked_title, one_line, title_from

MAX_SECONDS = 24 * 3600.0
MAX_SEGMENT_CHARS = 10_000
MAX_SPEAKER_CHARS = 100
MAX_EXTERNAL_ID_CHARS = 256
DISORDER_SECONDS = 5.0
"""A segment may start this much before the one before it: two people talk at once. Then they are sorted."""
OVERLAP_SECONDS = 60.0
"""Nobody goes on for longer than this behind somebody else's words."""
CHARACTERS_PER_SECOND = 200
"""Over ten times of what can be said; more means that the times are wrong."""

_FIELDS = {"title", "url", "language", "duration", "collection", "tags", "external_id", "segments"}
_SEGMENT_FIELDS = {"start", "end", "text", "speaker"}
_LANGUAGE = re.compile(r"([a-z]{2,3})([-_][a-z0-9-_]+)?")

Line = tuple[float, float, str, str]
"""Start and end in seconds, what is said, and who says it."""


@dataclass(frozen=True, slots=True)
class NewTranscript:
    """A video to make of a transcript. `segments` are in order of their starts, and `duration` is not before their end.

    Empty texts mean that nothing is known.
    """

    title: str
    url: str
    language: str
    duration: float
    collection: str
    tags: tuple[str, ...]
    external_id: str
    segments: list[Segment]

    @property
    def speaker_count(self) -> int | None:
        """How many people speak; None where nobody is named."""
        return len({segment.speaker for segment in self.segments if segment.speaker}) or None


def checked(
    lines: Iterable[Line],
    *,
    max_segments: int,
    title: str,
    url: str = "",
    filename: str = "",
    language: str = "",
    duration: float | None = None,
    collection: str = "",
    tags: Sequence[str] = (),
    external_id: str = "",
) -> NewTranscript:
    """Checks an import.

    Args:
        lines: The transcript.
        max_segments: How many lines there may be.
        title: Title; the name of the file or of the URL's stands in when empty.
        url: Where the video can be seen; it is not fetched.
        filename: Name of the file it comes from.
        language: ISO 639-1, or with a region behind (`en-US`).
        duration: Length in seconds; the end of the last segment stands in.
        collection: The collection it belongs to.
        tags: Its tags.
        external_id: The importer's own name for it.

    Raises:
        InvalidArgument: Something is wrong; the message says which segment, counted from 0.
    """
    url = urls.check_url(url, schemes=("http", "https")) if url.strip() else ""
    name = filename or unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    chosen = checked_title(title) or title_from(posixpath.splitext(name)[0])
    if not chosen:
        raise InvalidArgument("the title is missing", field="title")
    external_id = one_line(external_id)
    if len(external_id) > MAX_EXTERNAL_ID_CHARS:
        raise InvalidArgument(f"external_id is over {MAX_EXTERNAL_ID_CHARS} characters", field="external_id")
    segments = checked_segments(lines, max_segments)
    end = max(segment.end for segment in segments)
    return NewTranscript(
        title=chosen,
        url=url,
        language=checked_language(language),
        duration=_duration(duration, end),
        collection=checked_collection(collection),
        tags=checked_tags(tags),
        external_id=external_id,
        segments=segments,
    )


def read_json(body: bytes | bytearray, *, max_segments: int) -> NewTranscript:
    """Reads and checks a JSON body. Raises InvalidArgument."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON (NaN and Infinity are none): {error}", field="body") from None
    if not isinstance(fields, dict):
        raise InvalidArgument('the body must be a JSON object, such as {"title": "…", "segments": […]}', field="body")
    for name in fields.keys() - _FIELDS:
        raise InvalidArgument(
            f"there is no field {name[:64]!r}; there are {', '.join(sorted(_FIELDS))}", field=name[:64]
        )
    tags = fields.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidArgument("tags must be a list of texts", field="tags")
    lines = fields.get("segments")
    if not isinstance(lines, list):
        raise InvalidArgument(
            'segments must be a list, such as [{"start": 0, "end": 2.5, "text": "…"}]', field="segments"
        )
    duration = fields.get("duration")
    return checked(
        (line_of(index, line) for index, line in enumerate(lines)),
        max_segments=max_segments,
        duration=None if duration is None else _number(duration, "duration"),
        tags=tags,
        **{name: _text(fields.get(name), name) for name in ("title", "url", "language", "collection", "external_id")},
    )


def line_of(index: int, line: Any) -> Line:
    """Reads a segment from JSON. Raises InvalidArgument."""
    name = f"segments[{index}]"
    if not isinstance(line, dict):
        raise InvalidArgument(f"{name} must be an object with start, end and text", field=name)
    if not line.keys() <= _SEGMENT_FIELDS:
        unknown = ", ".join(sorted(key[:64] for key in line.keys() - _SEGMENT_FIELDS))
        raise InvalidArgument(f"{name} has {unknown}; a segment has start, end, text and perhaps speaker", field=name)
    if not isinstance(line.get("text"), str):
        raise InvalidArgument(f"{name}.text must be a text", field=f"{name}.text")
    return (
        _number(line.get("start"), f"{name}.start"),
        _number(line.get("end"), f"{name}.end"),
        line["text"],
        _text(line.get("speaker"), f"{name}.speaker"),
    )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(f"{name} must be a number of seconds", field=name)
    return float(value)


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a text", field=name)
    return value


def checked_segments(lines: Iterable[Line], max_segments: int) -> list[Segment]:
    """Gives the segments, sorted, those without a word left out; at least one.

    Raises:
        InvalidArgument: Something is wrong; the message says which segment, counted from 0.
    """
    segments: list[Segment] = []
    latest = furthest = 0.0
    characters = 0
    for index, (start, end, text, speaker) in enumerate(lines):
        if index >= max_segments:
            raise InvalidArgument(
                f"there are more than {max_segments} segments; import the transcript in parts", field="segments"
            )
        _check_times(index, start, end, latest, furthest)
        said = one_line(text)
        if len(said) > MAX_SEGMENT_CHARS:
            raise _wrong(
                index, "text", f"has {len(said)} characters, at most {MAX_SEGMENT_CHARS} are allowed; divide it"
            )
        who = one_line(speaker)
        if len(who) > MAX_SPEAKER_CHARS:
            raise _wrong(index, "speaker", f"names a speaker of over {MAX_SPEAKER_CHARS} characters")
        latest, furthest = max(latest, start), max(furthest, end)
        if said:
            characters += len(said)
            segments.append(Segment(start=round(start, 3), end=round(end, 3), text=said, speaker=who))
    if not segments:
        raise InvalidArgument("the transcript is empty: no segment has a text", field="segments")
    if characters > 1000 + CHARACTERS_PER_SECOND * furthest:
        raise InvalidArgument(
            f"{characters} characters cannot be said in {furthest:g} s; check the times, which are in seconds",
            field="segments",
        )
    segments.sort(key=lambda segment: segment.start)
    return segments


def _check_times(index: int, start: float, end: float, latest: float, furthest: float) -> None:
    if not (math.isfinite(start) and math.isfinite(end)):
        raise _wrong(index, "start", "has a time that is no finite number")
    if start < 0:
        raise _wrong(index, "start", f"starts at {start:g} s, before the beginning")
    if end < start:
        raise _wrong(index, "end", f"ends at {end:g} s, before it starts at {start:g} s")
    if end > MAX_SECONDS:
        raise _wrong(index, "end", f"ends at {end:g} s, over the limit of 24 hours; times are in seconds")
    if start < latest - DISORDER_SECONDS:
        raise _wrong(
            index, "start", f"starts at {start:g} s, but one before it at {latest:g} s; sort them by their starts"
        )
    if start < furthest - OVERLAP_SECONDS:
        raise _wrong(
            index,
            "start",
            f"starts at {start:g} s, while one before it goes on until {furthest:g} s; at most "
            f"{OVERLAP_SECONDS:g} s of overlap are allowed",
        )


def _wrong(index: int, field: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"segments[{index}] {what}", field=f"segments[{index}].{field}")


def checked_language(text: str) -> str:
    """Gives an ISO 639 code without its region; empty for none. Raises InvalidArgument."""
    found = _LANGUAGE.fullmatch(text.strip().lower())
    if text.strip() and not found:
        raise InvalidArgument(f"language {text[:32]!r} is no ISO 639 code, such as en", field="language")
    return found[1] if found else ""


def _duration(given: float | None, end: float) -> float:
    if given is None:
        return end
    if not 0 <= given <= MAX_SECONDS:
        raise InvalidArgument(f"a duration of {given:g} s is not between 0 and 24 hours", field="duration")
    # Subtitles tend to stay a little longer than the picture.
    if given < end - DISORDER_SECONDS:
        raise InvalidArgument(f"the duration is {given:g} s, but the last segment ends at {end:g} s", field="duration")
    return round(max(given, end), 3)
