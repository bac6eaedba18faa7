"""Which FAISS index a sealed segment gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FLAT_ROWS = 20_000
"""Up to this many rows are compared one by one: about a millisecond, and nothing is built or missed."""


class DenseKind(StrEnum):
    """How a sealed segment finds the nearest vectors.

    FLAT compares all, IVF the lists nearest to the query, both on float16 values. IVF_RABITQ compares one bit a number
    in those lists and then the float16 values of the best: a tenth of IVF's memory, and slower where much is alike.
    HNSW walks a graph on bytes and then compares the float16 values of the best: the fastest, and less memory than IVF.
    """

    FLAT = "flat"
    IVF = "ivf"
    IVF_RABITQ = "ivf_rabitq"
    HNSW = "hnsw"


class DenseCorrupt(RuntimeError):
    """A file is not the index that was written: damaged, cut off, of another kind or of other vectors."""


@dataclass(frozen=True, slots=True)
class DensePolicy:
    """Chooses the kind of a segment.

    Attributes:
        kind: For every segment of more than `flat_rows`; None leaves it to the policy: HNSW, or IVF where there is a
            GPU to search it.
        flat_rows: Up to this many rows a segment is exact.
        recall_target: Share of the true nearest that a search in an approximate kind must find.
        gpu: Whether searches will have a GPU.
    """

    kind: DenseKind | None = None
    flat_rows: int = FLAT_ROWS
    recall_target: float = 0.98
    gpu: bool = False

    def choose(self, rows: int) -> DenseKind:
        """Gives the kind for a segment of `rows` vectors."""
        return (
            DenseKind.FLAT if rows <= self.flat_rows else self.kind or (DenseKind.IVF if self.gpu else DenseKind.HNSW)
        )
