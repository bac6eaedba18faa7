"""The rows, questions and exact answers of one run, all from a seed: made once, then read from the cache.

Rows are real texts' vectors; beyond the texts there are, each row is a real one moved towards the difference of two
others. It is moved as far as some real text lies from its nearest neighbour, so that the grown rows are about as
crowded as the real ones, in the directions in which texts really differ. Plain noise would go in all 384 directions
alike, and would make the nearest neighbours of a question easier to tell apart than they are.

A question is a text that was left out of the rows: whole (even numbers), or its first sentence (odd numbers). Texts
that were not left out give sentences, which stand for those that chunks have.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.index import texts
from bench.index.corpus import Corpus
from bench.index.texts import Vectors
from bench.index.truth import Truth, exact

QUESTIONS = 1000
SENTENCES = 1000
EXTRA = 10_000
"""Rows beyond those built from, for measuring adding."""

SHARES = (0.1, 0.01, 0.001)
"""Filters keep so much of the rows."""

K = 10
BLOCK = 50_000
FURTHEST, NEAREST = 0.3, 0.98
"""A moved row's cosine to its source: neither out of the texts' world nor the same text again."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides every number of a data set."""

    rows: int
    texts: int
    seed: int = 20261123
    format: int = 2

    @property
    def name(self) -> str:
        """Of the folder that it is kept in."""
        return f"rows-{self.rows}-texts-{self.texts}-seed-{self.seed}-v{self.format}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set on disk.

    Attributes:
        corpus: the rows to build from.
        extra: rows to add afterwards.
        queries: float32 (questions, dimension).
        truths: exact answers by filter; the key is the number of videos kept, None is no filter.
        below: for each share of `SHARES` how many videos its filter keeps, those with smaller numbers: so many that
            they have that share of the rows, or just more.
    """

    folder: Path
    corpus: Corpus
    extra: Corpus
    queries: Vectors
    truths: dict[int | None, Truth]
    below: dict[float, int]


def dataset(recipe: Recipe, cache: Path) -> Dataset:
    """Reads a data set, or makes it first: minutes for a million rows, without the embedding."""
    folder = cache / recipe.name
    if not (folder / "recipe.json").exists():
        begun = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        _make(recipe, cache, folder)
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe)))
        print(f"made {folder} in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    if not (folder / "sentences.npy").exists():
        _make_sentences(recipe, cache, folder)
    corpus, extra = Corpus(folder / "rows.npy"), Corpus(folder / "extra.npy")
    queries: Vectors = np.load(folder / "queries.npy")
    rows_up_to = np.cumsum(np.bincount(corpus.videos()))
    below = {share: int(np.searchsorted(rows_up_to, share * corpus.rows)) + 1 for share in SHARES}
    truths = {limit: _truth(folder, corpus, queries, limit) for limit in (None, *below.values())}
    return Dataset(folder, corpus, extra, queries, truths, below)


def _make(recipe: Recipe, cache: Path, folder: Path) -> None:
    random = np.random.default_rng(recipe.seed)
    hearings = texts.read()[: recipe.texts]
    real = np.asarray(texts.vectors(cache, recipe.texts))
    left_out = _left_out(random, len(hearings))
    queries = real[left_out].copy()
    spoken = [texts.first_sentence(hearings[row].text) for row in left_out[1::2]]
    queries[1::2] = texts.embed(texts.load_model(cache), spoken)
    texts.save(folder / "queries.npy", queries)

    keep = np.setdiff1d(np.arange(len(hearings)), left_out)
    names = np.unique([hearing.video for hearing in hearings], return_inverse=True)[1][keep]
    total = recipe.rows + EXTRA
    copies = -(-total // len(keep))
    numbers = random.permutation(copies * (int(names.max()) + 1))  # so that small numbers are videos of every kind
    copy, source = np.divmod(np.arange(total), len(keep))
    videos = numbers[copy * (int(names.max()) + 1) + names[source]].astype(np.int32)
    grown = _grow(real[keep], total, random)
    for name, part in (("rows", slice(0, recipe.rows)), ("extra", slice(recipe.rows, total))):
        texts.save(folder / f"{name}.npy", grown[part])
        texts.save(folder / f"{name}.videos.npy", videos[part])


def _left_out(random: np.random.Generator, texts_read: int) -> npt.NDArray[np.int64]:
    return random.choice(texts_read, QUESTIONS, replace=False)


def _make_sentences(recipe: Recipe, cache: Path, folder: Path) -> None:
    hearings = texts.read()[: recipe.texts]
    random = np.random.default_rng(recipe.seed)
    kept = np.setdiff1d(np.arange(len(hearings)), _left_out(random, len(hearings)))
    spoken = [texts.first_sentence(hearings[row].text) for row in random.choice(kept, SENTENCES, replace=False)]
    texts.save(folder / "sentences.npy", texts.embed(texts.load_model(cache), spoken))


def _grow(real: Vectors, total: int, random: np.random.Generator) -> Vectors:
    """The real rows, then moved ones: float32 (total, dimension), length 1."""
    grown = np.empty((total, real.shape[1]), np.float32)
    grown[: len(real)] = real[:total]
    near = _nearest(real, random)
    for at in range(len(real), total, BLOCK):
        rows = np.arange(at, min(at + BLOCK, total))
        source = real[rows % len(real)]
        one, other = random.integers(len(real), size=(2, len(rows)))
        aside = real[one] - real[other]
        aside -= (aside * source).sum(axis=1, keepdims=True) * source
        length = np.linalg.norm(aside, axis=1, keepdims=True)
        aside /= np.where(length > 0, length, 1)  # the same text twice: not moved
        cosine = random.choice(near, (len(rows), 1)).astype(np.float32)
        moved = cosine * source + np.sqrt(1 - cosine**2) * aside
        grown[rows] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return grown


def _nearest(real: Vectors, random: np.random.Generator, sample: int = 2000) -> npt.NDArray[np.float32]:
    """Cosines of some real texts to the nearest other one."""
    some = random.choice(len(real), min(sample, len(real)), replace=False)
    cosines: Vectors = real[some] @ real.T
    cosines[np.arange(len(some)), some] = -1
    nearest: Vectors = np.clip(cosines.max(axis=1), FURTHEST, NEAREST)
    return nearest


def _truth(folder: Path, corpus: Corpus, queries: Vectors, below: int | None) -> Truth:
    path = folder / f"truth-{'all' if below is None else below}.npz"
    if not path.exists():
        exact(corpus, queries, K, below).save(path)
    return Truth.load(path)
