"""One long recording made of short ones with known words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from bench import corpus
from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, to_s16, write_flac

PAUSE_SECONDS = 1.0
_normal = EnglishTextNormalizer({})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Talk:
    """A file and what is said in it."""

    path: Path
    reference: str
    seconds: float
    parts: int

    def errors(self, heard: str) -> tuple[int, int, int]:
        """Gives word errors, words inserted among them, and words of the reference, after Whisper's normalizer."""
        said = _normal(self.reference)
        output = jiwer.process_words(said, _normal(heard))
        wrong = output.substitutions + output.deletions + output.insertions
        return wrong, output.insertions, len(said.split())


def talk(path: Path, *, minutes: float, samples_only: bool) -> Talk:
    """Writes the English recordings one after another, over and over until `minutes` are full."""
    recordings = [r for r in corpus.samples() + ([] if samples_only else corpus.shared()) if r.language == "en"]
    pieces, said, seconds = [], [], 0.0
    decoded: dict[Path, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    while seconds < minutes * 60:
        for recording in _mixed(recordings):
            if recording.path not in decoded:
                blocks = MediaReader(recording.path, max_seconds=7200).blocks()
                decoded[recording.path] = np.concatenate(list(blocks))
            pieces += [decoded[recording.path], pause]
            said.append(recording.reference)
            seconds += len(decoded[recording.path]) / SAMPLE_RATE + PAUSE_SECONDS
            if seconds >= minutes * 60:
                break
    write_flac(path, to_s16(np.concatenate(pieces)))
    return Talk(path, " ".join(said), seconds, len(said))


def _mixed(recordings: Sequence[corpus.Recording]) -> list[corpus.Recording]:
    """Puts the synthetic talks between the real recordings."""
    synthetic = [r for r in recordings if r.group == "samples"]
    real = [r for r in recordings if r.group != "samples"]
    every = max(1, len(real) // max(1, len(synthetic)))
    mixed = []
    for number, recording in enumerate(real):
        if number % every == 0 and synthetic:
            mixed.append(synthetic.pop(0))
        mixed.append(recording)
    return mixed + synthetic
