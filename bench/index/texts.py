"""Real texts as vectors: 60,000 chunks of court hearings, embedded once with the mesh's own model.

    python -m bench.index.texts [--cache .bench-cache/index]

The texts (`../shared/bulk`, CC BY-NC) are for measuring only and lie outside the repository; so do their vectors.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gzip
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from services.embedder.model import EmbeddingModel

HEARINGS = Path(__file__).resolve().parents[3] / "shared" / "bulk" / "hearings_60k.jsonl.gz"
DEFAULT_CACHE = Path(".bench-cache") / "index"
PART = 4000
"""Texts a file while embedding: an interrupted run goes on at the next part."""

BATCH = 8
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
WORDS_OF_A_QUESTION = 5

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hearing:
    """A chunk: its video (a name), place in it in seconds, and what was said."""

    video: str
    title: str
    start: float
    end: float
    text: str


def read(path: Path = HEARINGS) -> list[Hearing]:
    """The chunks in the file's order."""
    if not path.exists():
        sys.exit(f"{path} is not there; bench/index measures on it (see the top of bench/index/texts.py)")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [Hearing(**json.loads(line)) for line in lines]


def vectors(cache: Path, texts: int | None = None, path: Path = HEARINGS) -> Vectors:
    """Float32 vectors (texts, 384) of the file's first chunks, row by row in its order.

    They are embedded at the first call, 20 to 150 texts a second on two cores, and kept.

    Args:
        cache: where `hearings.npy` is kept, and its parts while there are only some.
        texts: how many chunks; all where None.
        path: the chunks.
    """
    whole = cache / "hearings.npy"
    if not whole.exists():
        wanted = [hearing.text for hearing in read(path)]
        parts = [_part(cache, wanted, at) for at in range(0, min(texts or len(wanted), len(wanted)), PART)]
        found: Vectors = np.concatenate([np.load(part) for part in parts])
        if len(found) == len(wanted):
            save(whole, found)
            for part in parts:
                part.unlink()
        return found[:texts]
    result: Vectors = np.load(whole, mmap_mode="r")[:texts]
    return result


def _part(cache: Path, texts: list[str], at: int) -> Path:
    """One file of vectors, made where it is missing."""
    part = cache / "hearings.parts" / f"{at:06d}.npy"
    if not part.exists():
        part.parent.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        save(part, embed(load_model(cache), texts[at : at + PART]))
        print(f"embedded texts {at:,} to {at + PART:,} in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return part


def first_sentence(text: str) -> str:
    """The first sentence that is long enough to be a question, or the first words where there is none."""
    sentences = SENTENCE_END.split(text.strip())
    long = (sentence for sentence in sentences if len(sentence.split()) >= WORDS_OF_A_QUESTION)
    return " ".join(next(long, text).split()[:30])


@functools.cache
def load_model(cache: Path) -> EmbeddingModel:
    """The embedder's model, on both cores."""
    from earmark.local import models
    from services.embedder.loading import ModelLoader

    loader = ModelLoader(models.ensure(cache / "models", asr="none").embedding, cache / "exported")
    asyncio.run(loader.prepare())
    return loader.load(threads=os.cpu_count() or 1)


def embed(model: EmbeddingModel, texts: list[str]) -> Vectors:
    """Embeds by eights of about the same length (padding is work), and gives the vectors in the order asked."""
    from services.embedder.model import TextKind

    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.empty((len(texts), model.dimension), np.float32)
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        found[rows] = model.embed([texts[row] for row in rows], TextKind.PASSAGE)
    return found


def save(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Writes beside and renames: an interrupted run leaves no half file."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    np.save(beside, array)
    beside.rename(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--texts", type=int, help="only the first so many")
    arguments = parser.parse_args()
    print(vectors(arguments.cache, arguments.texts).shape)
