from pathlib import Path

import faiss
import numpy as np
import pytest

from services.indexer.dense import DenseIndex
from tests.unit.indexer.builders import vector_of

DIMENSION = 16


def filled(count: int) -> tuple[DenseIndex, np.ndarray]:
    vectors = np.stack([vector_of(f"text {number}") for number in range(count)])
    index = DenseIndex.empty(DIMENSION)
    index.add(np.arange(count, dtype=np.int64), vectors)
    return index, vectors


def exact(vectors: np.ndarray, query: np.ndarray, among: list[int], k: int) -> list[int]:
    scores = np.einsum("ij,j->i", vectors, query)
    return sorted(among, key=lambda number: -scores[number])[:k]


def test_search_is_exact() -> None:
    index, vectors = filled(500)
    query = vector_of("question")
    ids, scores = index.search(query, 10)
    assert ids.tolist() == exact(vectors, query, list(range(500)), 10)
    assert np.allclose(scores, vectors[ids] @ query, atol=1e-6)


@pytest.mark.parametrize("share", [1, 2, 10, 100, 400])
def test_a_selection_is_searched_exactly_and_fills_k(share: int) -> None:
    index, vectors = filled(500)
    among = list(range(0, 500, share))
    query = vector_of("question")
    ids, _ = index.search(query, 10, among=np.array(among, np.int64))
    assert ids.tolist() == exact(vectors, query, among, 10)


def test_removed_numbers_are_not_found_and_k_is_still_filled() -> None:
    index, vectors = filled(50)
    query = vector_of("question")
    best = exact(vectors, query, list(range(50)), 5)
    assert index.remove(np.array([*best, 9999], np.int64)) == 5
    ids, _ = index.search(query, 5)
    assert ids.tolist() == exact(vectors, query, [n for n in range(50) if n not in best], 5)
    assert len(index) == 45


def test_fewer_vectors_than_k_gives_them_all() -> None:
    index, _ = filled(3)
    ids, scores = index.search(vector_of("question"), 100)
    assert sorted(ids.tolist()) == [0, 1, 2]
    assert len(scores) == 3
    empty = index.search(vector_of("question"), 5, among=np.empty(0, np.int64))
    assert len(empty[0]) == 0


def test_scores_and_vectors_by_number() -> None:
    index, vectors = filled(20)
    query = vector_of("question")
    ids = np.array([7, 3], np.int64)
    assert np.array_equal(index.vectors(ids), vectors[[7, 3]])
    assert np.allclose(index.scores(query, ids), vectors[[7, 3]] @ query, atol=1e-6)


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    index, _ = filled(20)
    index.remove(np.array([4], np.int64))
    index.write(tmp_path / "vectors.faiss")
    again = DenseIndex.read(tmp_path / "vectors.faiss")
    query = vector_of("question")
    assert again.search(query, 19)[0].tolist() == index.search(query, 19)[0].tolist()
    again.add(np.array([100], np.int64), query.reshape(1, -1))
    assert again.search(query, 1)[0].tolist() == [100]


def test_a_file_of_another_index_is_refused(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatL2(DIMENSION), str(tmp_path / "other.faiss"))
    with pytest.raises(RuntimeError, match="not a flat inner-product"):
        DenseIndex.read(tmp_path / "other.faiss")
