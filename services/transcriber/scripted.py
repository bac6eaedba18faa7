"""A recognizer without a model: what it says follows from the audio alone. For tests, demonstrations and load."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from services.common.transcript import Segment, Word
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.recognizer import Instructions, Recognition
from services.transcriber.voice import Voice

VOCABULARY = (
    "amber",
    "basket",
    "candle",
    "delta",
    "ember",
    "falcon",
    "garden",
    "harbour",
    "island",
    "jasmine",
    "kettle",
    "lantern",
    "meadow",
    "needle",
    "orchid",
    "pebble",
    "quartz",
    "river",
    "saddle",
    "timber",
    "umbrella",
    "velvet",
    "willow",
    "yellow",
    "zephyr",
)
"""What it says when it is given no sentences."""

_WINDOW = 5 * SAMPLE_RATE
_SILENCE = 0.01
_SWOLLEN_BYTES = 512 * 2**20


class ScriptedRecognizer:
    """Says one sentence for every five seconds that are not silent.

    Args:
        sentences: What it says, in turn; without any, words of `VOCABULARY` drawn by the audio itself, so that equal
            audio gives equal text and different audio different text.
        language: The language it claims to hear.
        pause: Seconds it takes over each recognition.
        misbehave: What to do instead (`crash`, `swell`, `segfault`, `hog`, `hang`, `raise`) for audio of up to so many
            seconds, by those seconds.
    """

    def __init__(
        self,
        sentences: Sequence[str] = (),
        *,
        language: str = "en",
        pause: float = 0.0,
        misbehave: Mapping[float, str] | None = None,
    ) -> None:
        self._sentences = sentences
        self._language = language
        self._pause = pause
        self._misbehave = dict(sorted((misbehave or {}).items()))

    @property
    def name(self) -> str:
        """Always `scripted`."""
        return "scripted"

    @property
    def device(self) -> str:
        """Always `cpu`."""
        return "cpu"

    def recognize(
        self,
        samples: Samples,
        instructions: Instructions,
        voice: Voice | None = None,  # noqa: ARG002  # it goes by loudness
    ) -> Recognition:
        """See `Recognizer`."""
        self._perhaps_misbehave(len(samples) / SAMPLE_RATE)
        threading.Event().wait(self._pause)
        segments: list[Segment] = []
        for start in range(0, len(samples), _WINDOW):
            window = samples[start : start + _WINDOW]
            loud = np.flatnonzero(np.abs(window) > _SILENCE)
            if len(loud):
                first, last = (start + loud[0]) / SAMPLE_RATE, (start + loud[-1] + 1) / SAMPLE_RATE
                segments.append(_say(self._sentence(len(segments), window), float(first), float(last)))
        if not segments:
            return Recognition("", 0.0, [])
        spoken = instructions.options.language or instructions.hint or self._language
        language = "en" if instructions.options.task == "translate" else spoken
        seconds = round(sum(segment.end - segment.start for segment in segments), 3)
        return Recognition(language, 1.0, [replace(s, language=language) for s in segments], {spoken: seconds})

    def _sentence(self, number: int, window: Samples) -> str:
        if self._sentences:
            return self._sentences[number % len(self._sentences)]
        drawn = zlib.crc32(window.tobytes())
        words = [VOCABULARY[(drawn >> (5 * i)) % len(VOCABULARY)] for i in range(6)]
        return " ".join(words).capitalize() + "."

    def _perhaps_misbehave(self, seconds: float) -> None:
        for limit, what in self._misbehave.items():
            if seconds > limit:
                continue
            match what:
                case "crash":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "swell":  # until the system kills it
                    filled = np.ones(_SWOLLEN_BYTES, np.uint8)
                    os.kill(os.getpid(), signal.SIGKILL if filled.all() else signal.SIGABRT)
                case "segfault":
                    ctypes.string_at(0)
                case "hog":
                    np.zeros(2**46, np.uint8)  # 64 TiB: more than any machine has
                case "hang":
                    threading.Event().wait()
                case "raise":
                    raise RuntimeError("told to")
                case other:
                    raise ValueError(f"cannot {other!r}")
            return


def _say(text: str, start: float, end: float) -> Segment:
    words = text.split()
    step = (end - start) / len(words)
    timed = [
        Word(start + i * step, min(start + (i + 1) * step, end), (" " if i else "") + word, 0.9)
        for i, word in enumerate(words)
    ]
    return Segment(start, end, text, timed, -0.1, 0.01, 1.0)
