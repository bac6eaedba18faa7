"""A segment as cues: cut at the ends of sentences and clauses and at pauses, each of two lines at most.

The limits are those of broadcasters (two lines of 42 columns, seven seconds; Netflix Timed Text Style Guide, BBC
Subtitle Guidelines). What a recognizer heard is cut at the times of its words; of what a person brought only the text
has to fit, since the times are that person's.
"""

from __future__ import annotations

import bisect
import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from services.common.transcript import Segment, Word
from services.gateway.caption_lines import (
    BREAK_AFTER,
    CLINGING,
    LINE_COLUMNS,
    LINES,
    NEVER_FIRST,
    OPENERS,
    SENTENCE_END,
    bare,
    broken,
    columns,
)

CUE_SECONDS = 7.0
SHORTEST_SECONDS = 0.9
"""A cue stays at least so long, where what follows leaves the time."""
READ_PER_SECOND = 17.0
"""Columns that most people read in a second."""
MIN_CUE_SECONDS = 0.001
CUE_COST = 0.9
"""Of each further cue, so that there are no more than reading asks for."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once. Times are seconds in the media's clock."""

    start: float
    end: float
    lines: list[str]
    speaker: str = ""
    words: list[Word] = field(default_factory=list)
    given: bool = False
    """Whether its times are those a person gave, and nobody else's to change."""


def cues_of_segment(segment: Segment) -> Iterator[Cue]:
    """Gives the cues of one segment, in order of time and none over another; none where it has no text."""
    if not segment.heard and segment.end <= segment.start:
        segment = replace(segment, end=segment.start + reading_seconds(columns(segment.text)))
    text = " ".join(segment.text.split())
    exact = segment.heard and bool(segment.words)
    # Words whose times are guesses are no reason to take apart what can be read at once, however long it goes on.
    whole = not exact and bool(text) and len(broken(text)) <= LINES
    if whole:
        end = min(segment.end, segment.start + CUE_SECONDS)
        segment = replace(segment, end=max(end, segment.start + MIN_CUE_SECONDS))
    words = [piece for word in (segment.words or _guessed_words(segment)) for piece in _breakable(word)]
    if whole:
        yield Cue(segment.start, segment.end, broken(text), segment.speaker, words, given=not segment.heard)
        return
    cues = [_cue(words[begin:end], segment.speaker) for begin, end in _cuts(words, exact=exact)]
    yield from cues if segment.heard else _within(segment, cues)


def reading_seconds(width: float) -> float:
    """Gives how long it takes to read so many columns."""
    return min(max(SHORTEST_SECONDS, width / READ_PER_SECOND), CUE_SECONDS)


def _within(segment: Segment, cues: Sequence[Cue]) -> Iterator[Cue]:
    """Gives cues the times of the segment they are of: the first its start and the last its end, if that is near."""
    begin = segment.start
    for index, cue in enumerate(cues):
        start = begin if index == 0 else max(cue.start, begin)
        end = max(cue.end, segment.end) if index == len(cues) - 1 else min(cue.end, max(cues[index + 1].start, start))
        begin = max(min(end, segment.end, start + CUE_SECONDS), start + MIN_CUE_SECONDS)
        yield replace(cue, start=start, end=begin, given=True)


def _cuts(words: Sequence[Word], *, exact: bool) -> list[tuple[int, int]]:
    """Cuts words into cues, each easy to read; gives the first word of each and the one behind its last.

    Dynamic programming over the ends of cues, since the best end of one depends on what is left for the next. Where
    times are not `exact`, a cue may go on for longer than it is shown.
    """
    if not words:
        return []
    widths = list(itertools.accumulate((columns(word.text) for word in words), initial=0.0))
    seconds = words[-1].end - words[0].start
    if seconds <= CUE_SECONDS and widths[-1] <= LINE_COLUMNS:  # most are a line, and are not to be taken apart
        return [(0, len(words))]
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
            if not alone and ((exact and seconds > CUE_SECONDS) or not _fits(words, begin, end, widths)):
                continue
            cost = best[begin] + CUE_COST + ending + _haste_cost(widths[end] - widths[begin], seconds)
            # One for all that is too long: two cues of half an hour are as good as a hundred of a word.
            cost += min(max(seconds / CUE_SECONDS - 1, 0.0), 1.0)
            if cost < best[end]:
                best[end], begins[end] = cost, begin
    cuts = [len(words)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    return list(itertools.pairwise(reversed(cuts)))


def _fits(words: Sequence[Word], begin: int, end: int, widths: Sequence[float]) -> bool:
    if widths[end] - widths[begin] <= LINE_COLUMNS:
        return True
    # The furthest break that leaves a first line, and what is behind it; only where that is unclear is it looked at.
    at = bisect.bisect_right(widths, widths[begin] + LINE_COLUMNS, begin + 1, end) - 1
    while at > begin and not words[at].text.startswith(" "):
        at -= 1
    if at > begin and widths[end] - widths[at] <= LINE_COLUMNS:
        return True
    return len(broken(text_of(words[begin:end]))) <= LINES


def _ending_cost(words: Sequence[Word], end: int) -> float:
    """Gives what it costs to end a cue before word `end`: nothing behind a sentence, much within a phrase."""
    last = words[end - 1].text.rstrip()
    if end == len(words) or SENTENCE_END.search(last):
        return 0.0
    pause = min(words[end].start - words[end - 1].end, 1.0)
    if BREAK_AFTER.search(last):
        return max(0.6 - pause, 0.0)
    if bare(words[end].text) in OPENERS:
        return max(1.2 - 2 * pause, 0.0)
    return max((2.5 if bare(last) in CLINGING else 1.8) - 2 * pause, 0.0)


def _haste_cost(width: float, seconds: float) -> float:
    """Gives what it costs to show so much for so short a time."""
    short = max(SHORTEST_SECONDS - seconds, 0.0)
    fast = max(width / max(seconds, 0.1) - READ_PER_SECOND, 0.0) / READ_PER_SECOND
    return 1.5 * short + min(fast, 1.5)


def _cue(words: list[Word], speaker: str) -> Cue:
    end = max(words[-1].end, words[0].start + MIN_CUE_SECONDS)
    return Cue(words[0].start, end, broken(text_of(words)), speaker, words)


def text_of(words: Sequence[Word]) -> str:
    """Gives what words say, with single blanks."""
    return " ".join("".join(word.text for word in words).split())


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
    if columns(word.text.strip()) <= LINE_COLUMNS / 2 or (
        word.text.isascii() and columns(word.text.strip()) <= LINE_COLUMNS
    ):
        yield word
        return
    text = word.text
    step = 4 if columns(text) > 1.5 * len(text) else LINE_COLUMNS // 2
    cuts = [0]
    while cuts[-1] < len(text):
        at = min(cuts[-1] + step, len(text))
        # A clause ends within; and no line begins with what closes the one before.
        inner = next((i + 1 for i in range(cuts[-1], at) if BREAK_AFTER.search(text[i])), at)
        while inner < len(text) and (text[inner] in NEVER_FIRST or unicodedata.combining(text[inner])):
            inner += 1
        cuts.append(inner)
    share = (word.end - word.start) / len(text)
    for begin, end in itertools.pairwise(cuts):
        yield Word(word.start + begin * share, word.start + end * share, text[begin:end], word.probability)
