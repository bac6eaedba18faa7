"""Transcripts of slices, joined, as JSON, WebVTT, SubRip or plain text."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from earmark.subtitles import OWN_WORD_TIMES
from services.common.transcript import Segment, SliceTranscript
from services.gateway.cue_times import cues_of
from services.gateway.cues import Cue

PARAGRAPH_PAUSE_SECONDS = 2.0


class CaptionFormat(enum.StrEnum):
    """Forms a transcript can be had in."""

    JSON = "json"
    VTT = "vtt"
    SRT = "srt"
    TXT = "txt"


MEDIA_TYPES = {
    CaptionFormat.JSON: "application/json",
    CaptionFormat.VTT: "text/vtt; charset=utf-8",
    CaptionFormat.SRT: "application/x-subrip; charset=utf-8",
    CaptionFormat.TXT: "text/plain; charset=utf-8",
}


def to_json(
    video_id: str,
    transcripts: Sequence[SliceTranscript],
    *,
    language: str | None,
    complete: bool,
    revision: int = 0,
    suspect: bool = True,
) -> dict[str, Any]:
    """Gives the transcript with all the recognizer knew, for orjson, which reads dataclasses by itself.

    Args:
        video_id: The video.
        transcripts: Its slices, in any order.
        language: Main language of the video, ISO 639-1.
        complete: Whether every slice is there.
        revision: The transcript's revision.
        suspect: Whether what likely nobody said is in it.
    """
    return {
        "video_id": video_id,
        "language": language,
        "complete": complete,
        "revision": revision,
        "segments": [{"segment_id": name, **_fields(segment)} for name, segment in named(transcripts, suspect=suspect)],
    }


def named(transcripts: Sequence[SliceTranscript], *, suspect: bool = True) -> list[tuple[str, Segment]]:
    """Gives the segments in order of time, each with its id; `suspect` are those that likely nobody said."""
    segments = [
        (f"{transcript.slice_id}.{index}", segment)
        for transcript in transcripts
        for index, segment in enumerate(transcript.segments)
        if suspect or not segment.suspect
    ]
    return sorted(segments, key=lambda one: (one[1].start, one[1].end))


def to_vtt(transcripts: Sequence[SliceTranscript], *, language: str | None = None, words: bool = False) -> str:
    """Gives WebVTT (W3C Candidate Recommendation, 2019), with a voice tag where the speaker is known.

    Args:
        transcripts: The slices, in any order.
        language: Main language of the video, ISO 639-1.
        words: Whether each word has its time, so that players can follow it.
    """
    head = (f"WEBVTT {OWN_WORD_TIMES}\n" if words else "WEBVTT\n") + (f"Language: {language}\n" if language else "")
    cues = (
        f"\n{timestamp(cue.start, '.')} --> {timestamp(cue.end, '.')}\n"
        + _voice(cue)
        + "".join(f"{line}\n" for line in (_timed_lines(cue) if words else map(_escape_vtt, cue.lines)))
        for cue in cues_of(_segments(transcripts))
    )
    return head + "".join(cues)


def to_srt(transcripts: Sequence[SliceTranscript]) -> str:
    """Gives SubRip. It has no escapes: an arrow in a text is changed, since players would take it for a time line."""
    cues = (
        f"{number}\n{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}\n"
        + "".join(f"{line.replace('-->', '→')}\n" for line in cue.lines)
        for number, cue in enumerate(cues_of(_segments(transcripts)), start=1)
    )
    return "\n".join(cues)


def to_txt(transcripts: Sequence[SliceTranscript]) -> str:
    """Gives the words alone; a pause of two seconds begins a new paragraph."""
    paragraphs: list[list[str]] = []
    end = float("-inf")
    for segment in _segments(transcripts):
        text = " ".join(segment.text.split())
        if not text:
            continue
        if segment.start - end >= PARAGRAPH_PAUSE_SECONDS or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(text)
        end = segment.end
    return "\n\n".join(" ".join(parts) for parts in paragraphs) + ("\n" if paragraphs else "")


def _fields(segment: Segment) -> dict[str, Any]:
    return {one.name: getattr(segment, one.name) for one in fields(segment)}


def _segments(transcripts: Sequence[SliceTranscript]) -> list[Segment]:
    segments = [segment for transcript in transcripts for segment in transcript.segments]
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def _timed_lines(cue: Cue) -> Iterator[str]:
    """Gives the lines of a cue with the time of each word but the first, which is that of the cue."""
    words = [word for word in cue.words if word.text.strip()]
    at, first = 0, True
    clock = cue.start
    for line in cue.lines:
        rest, parts = line, []
        while rest and at < len(words):
            text = " ".join(words[at].text.split())
            if not rest.startswith(text):
                break  # a word that goes on in the next line: what is left of this one has no time of its own
            clock = min(max(words[at].start, clock), cue.end)
            # Times within a cue have to be between its start and its end, and may not run backwards.
            stamp = "" if first or not cue.start < clock < cue.end else f"<{timestamp(clock, '.')}>"
            parts.append(f"{stamp}<c>{_escape_vtt(text)}</c>")
            rest, first = rest[len(text) :], False
            if rest.startswith(" "):
                parts.append(" ")
                rest = rest[1:]
            at += 1
        yield "".join(parts) + _escape_vtt(rest)


def timestamp(seconds: float, point: str = ".") -> str:
    """Gives a time as captions write it, `01:02:03.004`; `point` stands before the milliseconds."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _voice(cue: Cue) -> str:
    return f"<v {_escape_vtt(cue.speaker)}>" if cue.speaker else ""


def _escape_vtt(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
