"""Exact answers by brute force, and how much of them an engine found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.index.corpus import Corpus, Numbers, Vectors

BLOCK = 20_000
SAME = 1e-6
"""Rows whose cosines differ by less count as equally near: the same text said twice is no mistake."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The nearest rows of each question, best first.

    Attributes:
        ids: int64 (questions, k); -1 where a filter keeps fewer rows.
        cosines: float32 (questions, k); -2 there.
    """

    ids: Numbers
    cosines: npt.NDArray[np.float32]

    def save(self, path: Path) -> None:
        np.savez(path, ids=self.ids, cosines=self.cosines)

    @staticmethod
    def load(path: Path) -> Truth:
        with np.load(path) as file:
            return Truth(file["ids"], file["cosines"])

    def recall(
        self, answers: list[list[int]], queries: Vectors, corpus: Corpus, first: int = 0, below: int | None = None
    ) -> float:
        """Share of the exact answers found, from 0 to 1.

        An answer is right when it is at least as near as the last exact one, and kept by the filter. Its nearness is
        computed anew from the row itself: an engine that keeps rounded vectors is judged by what it found, not by how
        it scored.

        Args:
            answers: ids of the rows found for each question from `first` on.
            queries: all questions.
            corpus: all rows.
            first: the question that the first answer is for.
            below: the filter that the answers were asked with.
        """
        k, videos = self.ids.shape[1], corpus.videos()
        right = wanted = 0
        for number, answer in enumerate(answers, first):
            rows = np.unique(np.array(answer[:k], np.int64))
            rows = rows[(rows >= 0) & (rows < len(videos))]
            rows = rows if below is None else rows[videos[rows] < below]
            wanted += int((self.ids[number] >= 0).sum())
            known = np.isin(rows, self.ids[number])
            right += int(known.sum())
            if not known.all():
                cosines = corpus.take(rows[~known]) @ queries[number]
                right += int((cosines >= self.cosines[number, -1] - SAME).sum())
        return right / wanted if wanted else 0.0


def exact(corpus: Corpus, queries: Vectors, k: int, below: int | None = None) -> Truth:
    """Compares every question with every row, those of videos with smaller numbers than `below` where it is given."""
    best = np.full((len(queries), k), -2, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for block in corpus.blocks(BLOCK):
        vectors, numbers = block.vectors, block.ids
        if below is not None:
            vectors, numbers = vectors[block.videos < below], numbers[block.videos < below]
        if not len(numbers):
            continue
        cosines = np.concatenate([best, queries @ vectors.T], axis=1)
        both = np.concatenate([ids, np.broadcast_to(numbers, (len(queries), len(numbers)))], axis=1)
        order = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        best, ids = np.take_along_axis(cosines, order, 1), np.take_along_axis(both, order, 1)
    order = np.argsort(-best, axis=1, kind="stable")
    return Truth(np.take_along_axis(ids, order, 1), np.take_along_axis(best, order, 1))
