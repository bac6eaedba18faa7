"""How far each segment can be trusted, and which were likely said by nobody.

A recognizer that finds no words in a sound finds some in its training data: subtitle credits, farewells, one word over
and over. Their probabilities are often high, so what tells them is mostly the audio under them. A suspect segment is
marked and never dropped: somebody may have said it after all.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from services.common.transcript import Segment
from services.transcriber.phantoms import is_credit, is_farewell
from services.transcriber.voice import FRAME_SECONDS, SILENCE

NO_SPEECH_SHARE = 0.1
"""With less speech than this under it a segment was said by nobody; of real speech more than half is voiced."""
WEAK_SHARE = 0.5
WEAK_CONFIDENCE = 0.5
STRONG_CONFIDENCE = 0.8
"""Bounds for what is suspect on other grounds too: of real speech nine segments in ten are above them (tests)."""
ISOLATED_SECONDS = 5.0
"""A farewell this far from all other speech is weak on its own: people say it when they have just spoken."""

_DOT_ABOVE = "\u0307"  # what is left of a Turkish capital i
_COMPRESSION = 2.4
"""Whisper's own bound for text that repeats itself (Radford et al. 2022, 4.5)."""
_LOOP_REPEATS = 4
_LONG_LOOP_REPEATS = 10
_LOOP_COVER = 0.6
_LOOP_WORDS = 8
_FASTEST_WORDS_A_SECOND = 5.5
"""Fast speech has four to five; auctioneers have six."""
_REPEATED_SEGMENTS = 4


def judged(
    segments: Sequence[Segment], voice: npt.NDArray[np.float32], *, seconds: float, prompt: str = ""
) -> list[Segment]:
    """Gives the segments with `speech_share`, `confidence` and `suspect`.

    Args:
        segments: What was heard in a stretch of audio, in order; times from its beginning.
        voice: Probability of speech of each frame of the audio, shape (frames,).
        seconds: Length of the audio.
        prompt: What the recognizer was told to expect.
    """
    measured = [_measured(segment, voice) for segment in segments]
    repeats = _repeats_of([plain(segment.text) for segment in measured])
    gaps = _gaps(measured, seconds)
    told = plain(prompt)
    return [
        replace(segment, suspect=_suspicion(segment, repeats=repeated, gap=gap, prompt=told))
        for segment, repeated, gap in zip(measured, repeats, gaps, strict=True)
    ]


def plain(text: str) -> str:
    """Gives the words of a text alone: lower case, no punctuation, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace(_DOT_ABOVE, "")
    return " ".join("".join(char if _is_letter(char) else " " for char in folded).split())


def share_of_speech(voice: npt.NDArray[np.float32], start: float, end: float) -> float:
    """Gives the share of the frames from `start` to `end` (seconds) that may be speech."""
    first = int(start / FRAME_SECONDS)
    frames = voice[first : max(first + 1, math.ceil(end / FRAME_SECONDS))]
    return float((frames >= SILENCE).mean()) if len(frames) else 0.0


def _measured(segment: Segment, voice: npt.NDArray[np.float32]) -> Segment:
    share = share_of_speech(voice, segment.start, segment.end)
    if segment.words:
        letters = [max(1, len(word.text.strip())) for word in segment.words]
        sure = float(np.average([word.probability for word in segment.words], weights=letters))
    else:
        sure = math.exp(min(0.0, segment.average_log_probability))
    # Full trust needs half of it to be voiced; without any voice half of the trust is left, since voice activity errs.
    confidence = sure * (0.5 + 0.5 * min(1.0, share / WEAK_SHARE))
    return replace(segment, speech_share=round(share, 3), confidence=round(confidence, 3))


def _suspicion(segment: Segment, *, repeats: int, gap: float, prompt: str) -> str:
    share, confidence = segment.speech_share or 0.0, segment.confidence or 0.0
    text = plain(segment.text)
    weak = share < WEAK_SHARE or confidence < WEAK_CONFIDENCE
    if share < NO_SPEECH_SHARE:
        return "no_speech"
    if _loops(segment, text, share) or (repeats >= _REPEATED_SEGMENTS and share < WEAK_SHARE):
        return "loop"
    if is_credit(text) and (share < STRONG_CONFIDENCE or confidence < STRONG_CONFIDENCE):
        return "phantom"
    if is_farewell(text) and (weak or (gap >= ISOLATED_SECONDS and confidence < STRONG_CONFIDENCE)):
        return "phantom"
    if prompt and weak and len(text.split()) >= 3 and text in prompt:
        return "echo"
    return ""


def _loops(segment: Segment, text: str, share: float) -> bool:
    if segment.compression_ratio > _COMPRESSION:
        return True
    words = text.split() if " " in text else list(text)
    count = _repeated_run(words)
    if count < _LOOP_REPEATS:
        return False
    seconds = max(segment.end - segment.start, 0.01)
    spaced = " " in text
    return (
        count >= _LONG_LOOP_REPEATS or share < WEAK_SHARE or (spaced and len(words) / seconds > _FASTEST_WORDS_A_SECOND)
    )


def _repeated_run(words: Sequence[str]) -> int:
    """Gives how often one phrase stands in a row, where that makes most of the words; else 0."""
    best = 0
    for length in range(1, min(_LOOP_WORDS, len(words) // 2) + 1):
        run = 0
        for at in range(length, len(words)):
            run = run + 1 if words[at] == words[at - length] else 0
            if run + length >= _LOOP_COVER * len(words):
                best = max(best, (run + length) // length)
    return best


def _repeats_of(texts: Sequence[str]) -> list[int]:
    """Gives, for each text, how many equal ones stand in a row with it."""
    result: list[int] = []
    at = 0
    while at < len(texts):
        end = at
        while end < len(texts) and texts[end] == texts[at]:
            end += 1
        result += [end - at] * (end - at)
        at = end
    return result


def _gaps(segments: Sequence[Segment], seconds: float) -> list[float]:
    """Gives, for each segment, the seconds to the nearest other one, or to the edge where there is none."""
    starts = [segment.start for segment in segments] + [seconds]
    ends = [0.0] + [segment.end for segment in segments]
    return [min(segment.start - ends[i], starts[i + 1] - segment.end) for i, segment in enumerate(segments)]


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"
