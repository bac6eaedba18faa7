"""How far an approximate index must look for a search to find what it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Effort:
    """What it took to find the `k` nearest.

    Attributes:
        k: How many were asked for.
        breadth: Lists probed by an IVF index, or nodes kept in view by HNSW (efSearch).
        candidates: Found for each one asked for, and compared exactly afterwards; 1 where the index itself is exact.
        recall: Share of the true `k` nearest that came.
    """

    k: float
    breadth: float
    candidates: float
    recall: float


class EffortCurve:
    """The effort by `k`, measured at some and interpolated between them, on logarithmic scales.

    A filter that lets a share s of the rows through, at random, makes the k nearest as hard to find as the k / s
    nearest of all: they are the same rows, but for those the filter keeps out. So one curve serves both.

    Args:
        points: By ascending k, at least one.
    """

    def __init__(self, points: Sequence[Effort]) -> None:
        if not points or any(a.k >= b.k for a, b in pairwise(points)):
            raise ValueError("a curve needs points of ascending k")
        self.points = tuple(points)

    @classmethod
    def from_facts(cls, rows: Any) -> Self:
        """Reads what `facts` gave. Raises ValueError or TypeError when it is something else."""
        return cls([Effort(*map(float, row)) for row in rows])

    def facts(self) -> list[list[float]]:
        """The points as JSON can hold them."""
        return [[point.k, point.breadth, point.candidates, round(point.recall, 4)] for point in self.points]

    def at(self, k: float) -> tuple[int, float]:
        """Gives breadth and candidates for finding the `k` nearest; `k` need not be whole."""
        points = self.points
        if len(points) == 1 or k <= points[0].k:
            return math.ceil(points[0].breadth), points[0].candidates
        low, high = next(((a, b) for a, b in pairwise(points) if k <= b.k), (points[-2], points[-1]))
        part = math.log(k / low.k) / math.log(high.k / low.k)
        breadth = low.breadth * (high.breadth / low.breadth) ** part
        candidates = low.candidates * (high.candidates / low.candidates) ** min(part, 1.0)
        return math.ceil(breadth), max(1.0, candidates)
