"""Cuts a slice's transcript into the chunks that are embedded and found: about half a minute each, on sentence ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.common.transcript import SliceTranscript
from services.embedder.sentences import ends_clause, sentences_of
from services.embedder.timed_text import Unit, join, units_of

TokenCounter = Callable[[Sequence[str]], list[int]]
"""Gives the tokens of each text, without the model's special tokens."""

CUT_SENTENCE_COST = 0.5
"""Cost of ending a chunk within a sentence, where missing the target length by all of it costs 1."""
SPECIAL_TOKENS = 4
"""Room for the special tokens a model puts around a text, and for a joint that takes one token more than its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLimits:
    """How long a chunk is.

    Attributes:
        target_seconds: Length wanted, first word to last.
        max_seconds: Length never passed, except by a single word that is longer.
        max_tokens: Tokens of the model's input, special tokens included.
        mark_seconds: A sentence longer than this gets marks within it, so that play never starts much too early.
        overlap_sentences: Sentences of a chunk that the next one repeats.
    """

    target_seconds: float = 30.0
    max_seconds: float = 45.0
    max_tokens: int = 256
    mark_seconds: float = 10.0
    overlap_sentences: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a transcript that is found as one.

    Attributes:
        text: What was said.
        start_time: When it begins, seconds in the media's clock.
        end_time: When it ends.
        sentence_marks: For each sentence, and within long ones each clause, where it begins: (offset in `text` in
            code points, seconds). The first is (0, start_time); both numbers only grow.
        speaker: Who says it; empty when unknown.
        language: Of the text, ISO 639-1; empty where it is that of the slice.
    """

    text: str
    start_time: float
    end_time: float
    sentence_marks: list[tuple[int, float]]
    speaker: str = ""
    language: str = ""

    @property
    def sentences(self) -> list[str]:
        """What is said from each mark to the next."""
        ends = [offset for offset, _ in self.sentence_marks[1:]] + [len(self.text)]
        return [self.text[begin:end].strip() for (begin, _), end in zip(self.sentence_marks, ends, strict=True)]


def chunk_slice(transcript: SliceTranscript, count_tokens: TokenCounter, limits: ChunkLimits) -> list[Chunk]:
    """Cuts a transcript into chunks, in order; none when nothing was said. No word is split or lost.

    A chunk is of one speaker, where speakers are known, and of one language: it ends where another begins, however
    short it is. What is suspect is in no chunk: what likely nobody said should be found by nobody, and beside real
    words it would turn their vector away. It stays in the transcript.

    Args:
        transcript: What was said in a slice.
        count_tokens: Counts tokens as the embedding model does.
        limits: How long a chunk is.
    """
    turns = [list(units) for _, units in itertools.groupby(units_of(transcript.believed().segments), key=_voice)]
    sentences = [
        sentence for units in turns for sentence in sentences_of(units, units[0].language or transcript.language)
    ]
    # All at once, since counting tokens has a price for each call; then turn by turn.
    fragments = _fragments(sentences, count_tokens, limits)
    chunks: list[Chunk] = []
    for _, turn in itertools.groupby(fragments, key=lambda fragment: _voice(fragment.units[0])):
        groups = _pack(list(turn), limits)
        if limits.overlap_sentences:
            groups = _overlap(groups, limits)
        chunks += [_chunk(group) for group in groups]
    return chunks


def _voice(unit: Unit) -> tuple[str, str]:
    return unit.speaker, unit.language


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A sentence, or a part of a long one: what chunks are made of and play starts at."""

    units: list[Unit]
    tokens: int
    opens_sentence: bool

    @property
    def start(self) -> float:
        return self.units[0].start

    @property
    def end(self) -> float:
        return self.units[-1].end


def _fragments(sentences: list[list[Unit]], count_tokens: TokenCounter, limits: ChunkLimits) -> list[_Fragment]:
    parts = [
        (part, index == 0)
        for sentence in sentences
        for index, part in enumerate(_divide(sentence, lambda units: _is_long(units, limits), _clause_joint))
    ]
    # What no clause could shorten enough is cut at its longest pauses, so that chunks can keep their limits.
    short: list[tuple[list[Unit], bool]] = []
    for (part, opens), tokens in zip(parts, count_tokens([join(part) for part, _ in parts]), strict=True):
        if _fits(part, tokens, limits):
            short.append((part, opens))
            continue
        pieces = _divide(part, lambda units: not _fits(units, count_tokens([join(units)])[0], limits), _pause_joint)
        short += [(piece, opens and index == 0) for index, piece in enumerate(pieces)]
    counts = count_tokens([join(part) for part, _ in short])
    return [_Fragment(part, tokens, opens) for (part, opens), tokens in zip(short, counts, strict=True)]


def _is_long(units: list[Unit], limits: ChunkLimits) -> bool:
    return units[-1].end - units[0].start > limits.mark_seconds


def _fits(units: list[Unit], tokens: int, limits: ChunkLimits) -> bool:
    """Whether at least two such fragments go into a chunk."""
    seconds = units[-1].end - units[0].start
    return seconds <= limits.max_seconds / 2 and tokens <= (limits.max_tokens - SPECIAL_TOKENS) / 2


def _divide(
    units: list[Unit], too_long: Callable[[list[Unit]], bool], joint: Callable[[list[Unit]], int | None]
) -> list[list[Unit]]:
    """Halves a run of units at its best joint until every part is short enough, or has no joint."""
    done: list[list[Unit]] = []
    todo = [units]
    while todo:
        part = todo.pop()
        at = joint(part) if len(part) > 1 and too_long(part) else None
        if at is None:
            done.append(part)
        else:
            todo += [part[at:], part[:at]]
    return done


def _clause_joint(units: list[Unit]) -> int | None:
    """Gives the end of clause, or start of segment, nearest the middle in time; None where there is none."""
    joints = [i for i in range(1, len(units)) if ends_clause(units[i - 1]) or units[i].opens_segment]
    # A part of under two seconds is no place of its own to start playing at.
    joints = [i for i in joints if units[i].start - units[0].start >= 2 and units[-1].end - units[i].start >= 2]
    middle = (units[0].start + units[-1].end) / 2
    return min(joints, key=lambda i: abs(units[i].start - middle), default=None)


def _pause_joint(units: list[Unit]) -> int:
    """Gives the longest pause; among equal ones that nearest the middle."""
    middle = len(units) / 2
    return max(range(1, len(units)), key=lambda i: (round(units[i].start - units[i - 1].end, 1), -abs(i - middle)))


def _pack(fragments: list[_Fragment], limits: ChunkLimits) -> list[list[_Fragment]]:
    """Groups fragments so that chunks are, over the whole slice, as near the target length as can be.

    Dynamic programming over the ends of chunks: the cost of a chunk is its squared relative distance from the target.
    A last tiny chunk therefore goes into its neighbours by itself.
    """
    best = [0.0] + [math.inf] * len(fragments)
    begins = [0] * (len(fragments) + 1)
    for end in range(1, len(fragments) + 1):
        tokens = SPECIAL_TOKENS
        for begin in range(end - 1, -1, -1):
            tokens += fragments[begin].tokens
            seconds = fragments[end - 1].end - fragments[begin].start
            alone = begin == end - 1
            if not alone and (seconds > limits.max_seconds or tokens > limits.max_tokens):
                break
            cost = best[begin] + ((seconds - limits.target_seconds) / limits.target_seconds) ** 2
            if not fragments[begin].opens_sentence:
                cost += CUT_SENTENCE_COST
            if cost < best[end]:
                best[end], begins[end] = cost, begin
    groups: list[list[_Fragment]] = []
    end = len(fragments)
    while end:
        groups.append(fragments[begins[end] : end])
        end = begins[end]
    return groups[::-1]


def _overlap(groups: list[list[_Fragment]], limits: ChunkLimits) -> list[list[_Fragment]]:
    """Puts the last sentences of each chunk before the next one, as far as the limits allow."""
    overlapped = groups[:1]
    for previous, group in itertools.pairwise(groups):
        extended, sentences = list(group), 0
        for fragment in reversed(previous):
            tokens = SPECIAL_TOKENS + fragment.tokens + sum(other.tokens for other in extended)
            too_long = group[-1].end - fragment.start > limits.max_seconds or tokens > limits.max_tokens
            if sentences == limits.overlap_sentences or too_long:
                break
            extended.insert(0, fragment)
            sentences += fragment.opens_sentence
        overlapped.append(extended)
    return overlapped


def _chunk(fragments: list[_Fragment]) -> Chunk:
    marks: list[tuple[int, float]] = []
    units: list[Unit] = []
    length = 0
    for fragment in fragments:
        # join() leaves out the space before the first unit only.
        marks.append((length + (1 if units and fragment.units[0].spaced else 0), round(fragment.start, 3)))
        for unit in fragment.units:
            length += len(unit.text) + (1 if units and unit.spaced else 0)
            units.append(unit)
    start = round(units[0].start, 3)
    end = round(max(unit.end for unit in units), 3)
    return Chunk(join(units), start, end, _growing(marks), units[0].speaker, units[0].language)


def _growing(marks: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Leaves out marks at the same second as the one before."""
    kept = marks[:1]
    for mark in marks[1:]:
        if mark[1] > kept[-1][1]:
            kept.append(mark)
    return kept
