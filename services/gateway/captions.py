"""Transcripts of slices, joined, as JSON, WebVTT, SubRip or plain text.

Cues follow the usual broadcast limits (two lines of 42 columns; Netflix Timed Text Style Guide, BBC Subtitle
Guidelines): longer segments are split at word times.
"""

from __future__ import annotations

import bisect
import enum
import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from earmark.subtitles import OWN_WORD_TIMES
from services.common.transcript import Segment, SliceTranscript, Word

LINE_COLUMNS = 42
WIDE_COLUMNS = 2.6
LINES = 2
CUE_SECONDS = 7.0
SHORTEST_SECONDS = 0.9
"""A cue stays at least so long, where what follows leaves the time."""
READ_PER_SECOND = 17.0
"""Columns that most people read in a second."""
LATEST_SECONDS = 0.5
"""Where two talk at once the second's words may come so much late."""
CUE_COST = 0.9
"""Of each further cue, so that there are no more than reading asks for."""
PARAGRAPH_PAUSE_SECONDS = 2.0
_MIN_CUE_SECONDS = 0.001
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)」』）]*$")
_BREAK_AFTER = re.compile(r"[.!?…,;:–—。！？、，；：][\"'”’»)」』）]*$")
_NEVER_FIRST = frozenset("。、，．！？；：」』）】〉》ーゝゞ々ぁぃぅぇぉっゃゅょァィゥェォッャュョ,.!?;:)…%")


def _small_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Small words that begin a phrase, and such as belong to what follows them: a line that ends behind those reads badly.
_OPENERS = _small_words(
    "and but or nor so because that which who when where while if although though as than with from into about after "
    "before until und oder aber weil dass wenn et ou mais que qui parce quand y o pero porque cuando e ma"
)
_CLINGING = _small_words(
    "a an the my your his her its our their this these those to of in on at by for is are was were be very not der die "
    "das ein eine im am le la les un une des de du el los las una il lo gli i mr. mrs. ms. dr."
)


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
    words: list[Word] = field(default_factory=list)


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
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        + _voice(cue)
        + "".join(f"{line}\n" for line in (_timed_lines(cue) if words else map(_escape_vtt, cue.lines)))
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
    """Gives the cues of segments, in order of time: two lines and seven seconds at most, none overlapping.

    Where there is a pause behind it a cue stays as long as it takes to read; one that would flash by is shown together
    with the next.
    """
    cues: list[Cue] = []
    for segment in segments:
        for cue in _cues_of_segment(segment):
            if cues and (joined := _joined(cues[-1], cue)) is not None:
                cues[-1] = joined
            else:
                cues.append(cue)
    yield from _apart(cues)


def _fields(segment: Segment) -> dict[str, Any]:
    return {one.name: getattr(segment, one.name) for one in fields(segment)}


def _segments(transcripts: Sequence[SliceTranscript]) -> list[Segment]:
    segments = [segment for transcript in transcripts for segment in transcript.segments]
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def _cues_of_segment(segment: Segment) -> Iterator[Cue]:
    """Cuts a segment into cues: at the ends of sentences and clauses and at pauses, each easy to read.

    Dynamic programming over the ends of cues, since the best end of one depends on what is left for the next.
    """
    words = [piece for word in (segment.words or _guessed_words(segment)) for piece in _breakable(word)]
    if not words:
        return
    widths = list(itertools.accumulate((_columns(word.text) for word in words), initial=0.0))
    seconds = words[-1].end - words[0].start
    if seconds <= CUE_SECONDS and widths[-1] <= LINE_COLUMNS:  # most are a line, and are not to be taken apart
        yield _cue(words, segment.speaker)
        return
    best = [0.0] + [math.inf] * len(words)
    begins = [0] * (len(words) + 1)
    for end in range(1, len(words) + 1):
        ending = _ending_cost(words, end)
        for begin in range(end - 1, -1, -1):
            alone = begin == end - 1
            # The leading space of the first word counts for little; what may not fit is looked at exactly.
            if not alone and widths[end] - widths[begin] > LINES * LINE_COLUMNS + 2:
                break
            seconds = words[end - 1].end - words[begin].start
            if not alone and (seconds > CUE_SECONDS or not _fits(words, begin, end, widths)):
                continue
            cost = best[begin] + CUE_COST + ending + _haste_cost(widths[end] - widths[begin], seconds)
            if cost < best[end]:
                best[end], begins[end] = cost, begin
    cuts = [len(words)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    for begin, end in itertools.pairwise(reversed(cuts)):
        yield _cue(words[begin:end], segment.speaker)


def _fits(words: Sequence[Word], begin: int, end: int, widths: Sequence[float]) -> bool:
    if widths[end] - widths[begin] <= LINE_COLUMNS:
        return True
    # The furthest break that leaves a first line, and what is behind it; only where that is unclear is it looked at.
    at = bisect.bisect_right(widths, widths[begin] + LINE_COLUMNS, begin + 1, end) - 1
    while at > begin and not words[at].text.startswith(" "):
        at -= 1
    if at > begin and widths[end] - widths[at] <= LINE_COLUMNS:
        return True
    return len(_lines(_text(words[begin:end]))) <= LINES


def _ending_cost(words: Sequence[Word], end: int) -> float:
    """Gives what it costs to end a cue before word `end`: nothing behind a sentence, much within a phrase."""
    last = words[end - 1].text.rstrip()
    if end == len(words) or _SENTENCE_END.search(last):
        return 0.0
    pause = min(words[end].start - words[end - 1].end, 1.0)
    if _BREAK_AFTER.search(last):
        return max(0.6 - pause, 0.0)
    if _bare(words[end].text) in _OPENERS:
        return max(1.2 - 2 * pause, 0.0)
    return max((2.5 if _bare(last) in _CLINGING else 1.8) - 2 * pause, 0.0)


def _haste_cost(width: float, seconds: float) -> float:
    """Gives what it costs to show so much for so short a time."""
    short = max(SHORTEST_SECONDS - seconds, 0.0)
    fast = max(width / max(seconds, 0.1) - READ_PER_SECOND, 0.0) / READ_PER_SECOND
    return 1.5 * short + min(fast, 1.5)


def _joined(first: Cue, second: Cue) -> Cue | None:
    """Gives two cues as one, where the first would be gone before it is read; None where they do not go together."""
    if second.start - first.start >= SHORTEST_SECONDS or first.speaker != second.speaker:
        return None
    if max(first.end, second.end) - first.start > CUE_SECONDS:
        return None
    words = [*first.words, *second.words]
    opening = second.words[0]
    if not opening.text.startswith(" ") and _columns(opening.text[:1]) <= 1:  # a segment's first word may have no space
        words[len(first.words)] = replace(opening, text=f" {opening.text}")
    lines = _lines(_text(words))
    if len(lines) > LINES:
        return None
    return Cue(first.start, max(first.end, second.end), lines, first.speaker, words)


def _apart(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Gives cues that do not overlap, each for as long as it takes to read, as far as there is time."""
    begin = 0.0
    for index, cue in enumerate(cues):
        start = max(cue.start, begin)
        end = max(cue.end, start + _MIN_CUE_SECONDS)
        wide = sum(map(_columns, cue.lines))
        wanted = min(max(end, start + SHORTEST_SECONDS, start + wide / READ_PER_SECOND), start + CUE_SECONDS)
        following = cues[index + 1].start if index + 1 < len(cues) else math.inf
        if following < end:
            # Two talk at once: the first is shown long enough to be read, and the second comes a little late.
            following = max(following, min(start + SHORTEST_SECONDS, following + LATEST_SECONDS))
        end = max(min(max(end, wanted), following), start + _MIN_CUE_SECONDS)
        begin = end
        yield replace(cue, start=start, end=end)


def _cue(words: list[Word], speaker: str) -> Cue:
    end = max(words[-1].end, words[0].start + _MIN_CUE_SECONDS)
    return Cue(words[0].start, end, _lines(_text(words)), speaker, words)


def _text(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


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
            # Times within a cue have to be behind its start, and may not run backwards.
            stamp = "" if first or clock <= cue.start else f"<{_clock(clock, '.')}>"
            parts.append(f"{stamp}<c>{_escape_vtt(text)}</c>")
            rest, first = rest[len(text) :], False
            if rest.startswith(" "):
                parts.append(" ")
                rest = rest[1:]
            at += 1
        yield "".join(parts) + _escape_vtt(rest)


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
    if not word.text.strip():
        return
    if _columns(word.text.strip()) <= LINE_COLUMNS / 2 or (
        word.text.isascii() and _columns(word.text.strip()) <= LINE_COLUMNS
    ):
        yield word
        return
    text = word.text
    step = 4 if _columns(text) > 1.5 * len(text) else LINE_COLUMNS // 2
    cuts = [0]
    while cuts[-1] < len(text):
        at = min(cuts[-1] + step, len(text))
        # A clause ends within; and no line begins with what closes the one before.
        inner = next((i + 1 for i in range(cuts[-1], at) if _BREAK_AFTER.search(text[i])), at)
        while inner < len(text) and (text[inner] in _NEVER_FIRST or unicodedata.combining(text[inner])):
            inner += 1
        cuts.append(inner)
    share = (word.end - word.start) / len(text)
    for begin, end in itertools.pairwise(cuts):
        yield Word(word.start + begin * share, word.start + end * share, text[begin:end], word.probability)


def _lines(text: str) -> list[str]:
    """Breaks a text into lines of at most 42 columns; two lines where it can be, broken where a clause ends."""
    if _columns(text) <= LINE_COLUMNS:
        return [text]
    units = _units(text)
    widths = list(itertools.accumulate(map(_columns, units), initial=0.0))
    best: tuple[float, int] | None = None
    for cut in range(1, len(units)):
        upper = widths[cut] - (1 if units[cut - 1].endswith(" ") else 0)
        lower = widths[-1] - widths[cut]
        if upper > LINE_COLUMNS or lower > LINE_COLUMNS:
            continue
        # A little rather the lower line the longer one.
        cost = abs(upper - lower) / LINE_COLUMNS + (0.1 if upper > lower else 0.0)
        last = units[cut - 1].rstrip()
        if _SENTENCE_END.search(last) or _BREAK_AFTER.search(last):
            cost -= 0.5
        elif _bare(units[cut]) in _OPENERS:
            cost -= 0.25
        elif _bare(last) in _CLINGING:
            cost += 0.3
        if units[cut][0] in _NEVER_FIRST:
            cost += 5
        if best is None or cost < best[0]:
            best = (cost, cut)
    if best is not None:
        return ["".join(units[: best[1]]).strip(), "".join(units[best[1] :]).strip()]
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


def _bare(text: str) -> str:
    return text.strip(" \"'“”‘’(«").lower()


def _columns(text: str) -> float:
    """Gives the width of a text: a wide character takes the place of more than two, and a combining one none.

    So a line holds 16 characters of Chinese or Japanese, as guides to captions ask.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else WIDE_COLUMNS if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
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
