"""Rows on disk, read in blocks: what every engine is built from. Needs numpy only: the peers' venv has no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows.

    Attributes:
        ids: int64 (rows,), the numbers that answers name.
        vectors: float32 (rows, dimension), length 1.
        videos: int64 (rows,), the number of the video that each belongs to.
    """

    ids: Numbers
    vectors: Vectors
    videos: Numbers


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file of vectors, `NAME.npy`, and one of video numbers beside it, `NAME.videos.npy`.

    Blocks are copies: a mapped file would be counted as memory of the engine that reads it.
    """

    path: Path
    first_id: int = 0

    @property
    def rows(self) -> int:
        return len(self._mapped())

    @property
    def dimension(self) -> int:
        return int(self._mapped().shape[1])

    def _mapped(self) -> Vectors:
        mapped: Vectors = np.load(self.path, mmap_mode="r")
        return mapped

    def videos(self) -> Numbers:
        """The video number of every row."""
        numbers: Numbers = np.load(self.path.with_suffix(".videos.npy")).astype(np.int64)
        return numbers

    def blocks(self, size: int, stop: int | None = None) -> Iterator[Block]:
        """The rows in order, `size` at once, of the first `stop` rows."""
        videos, rows = self.videos(), min(stop or self.rows, self.rows)
        for at in range(0, rows, size):
            part = slice(at, min(at + size, rows))
            ids = np.arange(part.start, part.stop, dtype=np.int64) + self.first_id
            yield Block(ids, np.array(self._mapped()[part]), videos[part])

    def some(self, count: int, seed: int = 7) -> Vectors:
        """Random rows, for training."""
        if count >= self.rows:
            return np.array(self._mapped())
        chosen = np.random.default_rng(seed).choice(self.rows, count, replace=False)
        return np.array(self._mapped()[np.sort(chosen)])

    def take(self, ids: Numbers) -> Vectors:
        """The vectors of some rows."""
        return np.array(self._mapped()[ids - self.first_id])
