"""What lies around an index on a GPU, with an index on the CPU in its place: there is no GPU here to run it on."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from services.indexer import dense_gpu
from services.indexer.chunks import Vectors
from services.indexer.dense import DenseIndex, DenseKind, build
from services.indexer.dense_effort import Effort, EffortCurve
from services.indexer.dense_exact import Found
from services.indexer.rows import Rows

ROWS, DIMENSION = 3000, 16


class Counting:
    """The index on the CPU, counting what it is asked."""

    def __init__(self, index: DenseIndex) -> None:
        self._index = index
        self.asked = 0

    def find(self, queries: Vectors, k: int, rows: Rows | None) -> list[Found]:
        self.asked += 1
        return self._index.search_many(queries, k, rows)


@pytest.fixture
def vectors() -> np.ndarray:
    given = np.random.default_rng(3).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    return (given / np.linalg.norm(given, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def finders(vectors: np.ndarray, tmp_path: Path) -> tuple[dense_gpu.GpuFinder, Counting]:
    facts = build(vectors, tmp_path / "flat", kind=DenseKind.FLAT, recall_target=1.0, threads=1)
    on_cpu = Counting(DenseIndex.open(tmp_path / "flat", vectors, facts))
    lists = faiss.index_factory(DIMENSION, "IVF16,SQfp16", faiss.METRIC_INNER_PRODUCT)
    lists.train(vectors.astype(np.float32))
    lists.add(vectors.astype(np.float32))
    effort = EffortCurve([Effort(10, 16, 1, 1.0)])  # all lists: exact
    return dense_gpu.GpuFinder(lists, on_cpu, effort, ROWS), on_cpu


def test_there_is_none_here() -> None:
    assert not dense_gpu.available()


@pytest.mark.parametrize(
    ("dead", "k", "by_cpu"), [(0, 10, 0), (7, 10, 0), (11, 10, 1), (0, 2048, 0), (0, 2049, 1), (2990, 5, 1)]
)
def test_the_dead_are_left_out_and_what_it_cannot_give_comes_from_the_cpu(
    finders: tuple[dense_gpu.GpuFinder, Counting], vectors: np.ndarray, dead: int, k: int, by_cpu: int
) -> None:
    finder, on_cpu = finders
    query = vectors[:1].astype(np.float32)
    cosines = vectors.astype(np.float32) @ query[0]
    mask = np.ones(ROWS, np.bool_)
    mask[np.argsort(-cosines)[:dead]] = False  # the very nearest
    ((ids, scores),) = finder.find(query, k, Rows(mask) if dead else None)
    expected = np.sort(cosines[mask])[::-1][:k]
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert mask[ids].all()
    assert on_cpu.asked == by_cpu
