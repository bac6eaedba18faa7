"""Transcripts of slices, joined, as JSON, WebVTT, SubRip or plain text.

Cues follow the usual broadcast limits (two lines of 42 columns; Netflix Timed Text Style Guide, BBC Subtitle
Guidelines): longer segments are split at word times.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.common.transcript import Segment, SliceTranscript, Word

LINE_COLUMNS = 42
LINES = 2
CUE_SECONDS = 7.0
PARAGRAPH_PAUSE_SECONDS = 2.0
_MIN_CUE_SECONDS = 0.001
_BREAK_AFTER = re.compile(r"[.!?…,;:。！？、，；：]$")


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


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once. Times are seconds in the media's clock."""

    start: float
    end: float
    lines: list[str]
    speaker: str = ""


def to_json(
    video_id: str, transcripts: Sequence[SliceTranscript], *, language: str | None, complete: bool
) -> dict[str, Any]:
    """Gives the transcript with all the recognizer knew, for orjson, which reads dataclasses by itself.

    Args:
        video_id: The video.
        transcripts: Its slices, in any order.
        language: Main language of the video, ISO 639-1.
        complete: Whether every slice is there.
    """
    return {
        "video_id": video_id,
        "language": language,
        "complete": complete,
        "segments": _segments(transcripts),
    }


def to_vtt(transcripts: Sequence[SliceTranscript], *, language: str | None = None) -> str:
    """Gives WebVTT (W3C Candidate Recommendation, 2019), with a voice tag where the speaker is known."""
    head = "WEBVTT\n" + (f"Language: {language}\n" if language else "")
    cues = (
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        + _voice(cue)
        + "".join(f"{_escape_vtt(line)}\n" for line in cue.lines)
        for cue in cues_of(_segments(transcripts))
    )
    return head + "".join(cues)


def to_srt(transcripts: Sequence[SliceTranscript]) -> str:
    """Gives SubRip. It has no escapes: an arrow in a text is changed, since players would take it for a time line."""
    cues = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
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


def cues_of(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Gives the cues of segments, in order of time, none longer than two lines or seven seconds, none overlapping."""
    previous: Cue | None = None
    for segment in segments:
        for cue in _cues_of_segment(segment):
            if previous is None:
                previous = cue
                continue
            start = max(cue.start, previous.start + _MIN_CUE_SECONDS)
            yield replace(previous, end=min(previous.end, start))
            previous = replace(cue, start=start, end=max(cue.end, start + _MIN_CUE_SECONDS))
    if previous is not None:
        yield previous


def _segments(transcripts: Sequence[SliceTranscript]) -> list[Segment]:
    segments = [segment for transcript in transcripts for segment in transcript.segments]
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def _cues_of_segment(segment: Segment) -> Iterator[Cue]:
    words = segment.words or _guessed_words(segment)
    pieces = [piece for word in words for piece in _breakable(word)]
    taken: list[Word] = []
    for piece in pieces:
        if taken and (piece.end - taken[0].start > CUE_SECONDS or len(_lines(_text([*taken, piece]))) > LINES):
            cut = _best_cut(taken)
            yield _cue(taken[:cut], segment.speaker)
            taken = taken[cut:]
        taken.append(piece)
    if taken:
        yield _cue(taken, segment.speaker)


def _cue(words: list[Word], speaker: str) -> Cue:
    return Cue(words[0].start, max(words[-1].end, words[0].start + _MIN_CUE_SECONDS), _lines(_text(words)), speaker)


def _text(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _best_cut(words: list[Word]) -> int:
    """Gives how many words to show now: up to the last punctuation in the second half, else all."""
    for count in range(len(words) - 1, len(words) // 2, -1):
        if _BREAK_AFTER.search(words[count - 1].text.rstrip()):
            return count
    return len(words)


def _guessed_words(segment: Segment) -> list[Word]:
    """Gives words for a segment that has none, with times in proportion to their letters."""
    texts = [f" {word}" for word in segment.text.split()]
    letters = sum(map(len, texts))
    words: list[Word] = []
    at = segment.start
    for text in texts:
        end = at + (segment.end - segment.start) * len(text) / letters
        words.append(Word(at, end, text, 0.0))
        at = end
    return words


def _breakable(word: Word) -> Iterator[Word]:
    """Takes apart what is too wide for a line: scripts without spaces come as one long word when words are guessed."""
    if _columns(word.text.strip()) <= LINE_COLUMNS:
        if word.text.strip():
            yield word
        return
    step = max(1, LINE_COLUMNS // 2)
    text = word.text
    for at in range(0, len(text), step):
        share = (word.end - word.start) / len(text)
        yield Word(
            word.start + at * share,
            word.start + min(at + step, len(text)) * share,
            text[at : at + step],
            word.probability,
        )


def _lines(text: str) -> list[str]:
    """Breaks a text into lines of at most 42 columns, of similar length when there are two."""
    if _columns(text) <= LINE_COLUMNS:
        return [text]
    units = _units(text)
    best: tuple[int, list[str]] | None = None
    for cut in range(1, len(units)):
        top, bottom = "".join(units[:cut]).strip(), "".join(units[cut:]).strip()
        widths = _columns(top), _columns(bottom)
        if max(widths) <= LINE_COLUMNS and (best is None or abs(widths[0] - widths[1]) < best[0]):
            best = (abs(widths[0] - widths[1]), [top, bottom])
    if best is not None:
        return best[1]
    lines = [""]
    for unit in units:
        if lines[-1] and _columns(lines[-1] + unit.rstrip()) > LINE_COLUMNS:
            lines.append("")
        lines[-1] += unit
    return [line.strip() for line in lines]


def _units(text: str) -> list[str]:
    """Gives the smallest pieces a line may be broken between: words, or single characters of wide scripts."""
    units: list[str] = []
    for piece in re.findall(r"\S+\s*", text):
        if _columns(piece.rstrip()) == len(piece.rstrip()) and len(piece) <= LINE_COLUMNS:
            units.append(piece)
        else:
            units += list(piece)
    return units


def _columns(text: str) -> int:
    """Gives the width of a text, where wide characters take two columns and combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _voice(cue: Cue) -> str:
    return f"<v {_escape_vtt(cue.speaker)}>" if cue.speaker else ""


def _escape_vtt(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
