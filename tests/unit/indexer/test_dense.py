"""One suite for every kind of dense index and for the head: they differ in speed and in what they may miss only."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import pytest

from services.indexer.dense import DenseCorrupt, DenseIndex, DenseKind, DensePolicy, Found, HeadVectors, build
from services.indexer.dense_effort import Effort, EffortCurve
from services.indexer.dense_exact import RowReader
from services.indexer.dense_graph import byte_scale, byte_values
from services.indexer.rows import Rows

DIMENSION = 32
ROWS = 3000
K = 10
APPROXIMATE = [DenseKind.IVF, DenseKind.IVF_RABITQ, DenseKind.HNSW]
NAMES = ["head", *(kind.value for kind in DenseKind)]


class Searchable(Protocol):
    def search(self, query: Any, k: int, rows: Rows | None = None) -> Found: ...
    def search_many(self, queries: Any, k: int, rows: Rows | None = None) -> list[Found]: ...
    def scores(self, query: Any, ids: Any) -> Any: ...


def clustered(count: int, seed: int = 1) -> np.ndarray:
    """Unit vectors (count, DIMENSION), float16, around 60 centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((60, DIMENSION))
    vectors = centres[random.integers(0, 60, count)] + 0.7 * random.standard_normal((count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


VECTORS = clustered(ROWS)
QUERIES = np.ascontiguousarray(clustered(40, seed=2), dtype=np.float32)


def make(name: str, vectors: np.ndarray, folder: Path) -> Searchable:
    if name == "head":
        head = HeadVectors(DIMENSION)
        for start in range(0, len(vectors), 700):
            head.append(vectors[start : start + 700].astype(np.float32))
        return head
    path = folder / f"{name}-{len(vectors)}.faiss"
    facts = build(vectors, path, kind=DenseKind(name), recall_target=0.98, threads=1)
    # With so few rows, every filter would end in comparing all that it lets through.
    return DenseIndex.open(path, vectors, facts, brute_rows=50)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Searchable]:
    folder = tmp_path_factory.mktemp("dense")
    return {name: make(name, VECTORS, folder) for name in NAMES}


def rows_of(share: float, seed: int = 3) -> Rows:
    return Rows(np.random.default_rng(seed).random(ROWS) < share)


def true_scores(query: np.ndarray) -> np.ndarray:
    return np.einsum("ij,j->i", VECTORS.astype(np.float64), query.astype(np.float64))


def oracle(query: np.ndarray, k: int, rows: Rows | None) -> list[int]:
    scores = true_scores(query)
    allowed = np.arange(ROWS) if rows is None else np.flatnonzero(rows.mask)
    return allowed[np.argsort(-scores[allowed], kind="stable")][:k].tolist()


def same(found: Found, other: Found) -> bool:
    """Whether two searches gave the same, but for the order of rows whose cosines differ by rounding alone."""
    return np.allclose(found[1], other[1], atol=1e-6) and len(np.setxor1d(found[0], other[0])) <= 1


FILTERS: dict[str, Callable[[], Rows | None]] = {
    "all": lambda: None,
    "nothing is left out": lambda: Rows(np.ones(ROWS, np.bool_)),
    "a few deleted": lambda: rows_of(0.99),
    "most": lambda: rows_of(0.7),
    "a third": lambda: rows_of(0.3),
    "a twentieth": lambda: rows_of(0.05),
    "forty rows": lambda: Rows(np.isin(np.arange(ROWS), np.arange(0, ROWS, ROWS // 40))),
    "one stretch": lambda: Rows(np.arange(ROWS) < 200),
    "what is far": lambda: Rows(true_scores(QUERIES[0]) < 0.2),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("only", FILTERS)
def test_search_finds_the_nearest_that_may_be_found(name: str, only: str, indexes: dict[str, Searchable]) -> None:
    rows, index = FILTERS[only](), indexes[name]
    hits = 0
    for query in QUERIES:
        ids, cosines = index.search(query, K, rows)
        assert (ids.dtype, cosines.dtype) == (np.int64, np.float32)
        assert len(ids) == len(cosines) == len(set(ids.tolist())) == K
        assert rows is None or rows.mask[ids].all()
        assert all(a >= b for a, b in pairwise(cosines.tolist()))
        assert np.allclose(cosines, true_scores(query)[ids], atol=1e-6)
        expected = oracle(query, K, rows)
        hits += len(set(expected) & set(ids.tolist()))
        if name in {"head", DenseKind.FLAT}:
            assert np.allclose(cosines, true_scores(query)[expected], atol=1e-6)
    assert hits / (K * len(QUERIES)) >= 0.95


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("allowed", [0, 1, 3, 49, 51, 300])
def test_fewer_than_k_may_be_found_and_all_are(name: str, allowed: int, indexes: dict[str, Searchable]) -> None:
    mask = np.zeros(ROWS, np.bool_)
    mask[np.random.default_rng(4).choice(ROWS, allowed, replace=False)] = True
    ids, cosines = indexes[name].search(QUERIES[0], 1000, Rows(mask))
    assert np.array_equal(np.sort(ids), np.flatnonzero(mask))
    assert len(cosines) == allowed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1, 100, 1000, ROWS - 1, ROWS, 10 * ROWS])
def test_k_is_filled_however_large(name: str, k: int, indexes: dict[str, Searchable]) -> None:
    ids, _ = indexes[name].search(QUERIES[1], k)
    assert len(set(ids.tolist())) == len(ids) == min(k, ROWS)
    assert len(set(ids.tolist()) & set(oracle(QUERIES[1], k, None))) >= 0.9 * min(k, ROWS)
    deleted = rows_of(0.9)
    ids, _ = indexes[name].search(QUERIES[1], k, deleted)
    assert len(set(ids.tolist())) == len(ids) == min(k, deleted.count)
    assert deleted.mask[ids].all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("only", FILTERS)
def test_many_queries_find_what_each_finds(name: str, only: str, indexes: dict[str, Searchable]) -> None:
    rows = FILTERS[only]()
    together = indexes[name].search_many(QUERIES, K, rows)
    assert len(together) == len(QUERIES)
    for query, found in zip(QUERIES, together, strict=True):
        assert same(found, indexes[name].search(query, K, rows))


@pytest.mark.parametrize("name", NAMES)
def test_no_queries_and_no_k_find_nothing(name: str, indexes: dict[str, Searchable]) -> None:
    assert indexes[name].search_many(QUERIES[:0], K) == []
    assert [len(ids) for ids, _ in indexes[name].search_many(QUERIES[:2], 0)] == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_exact_and_in_the_order_asked(name: str, indexes: dict[str, Searchable]) -> None:
    ids = np.array([2999, 3, 3, 17], np.int64)
    assert np.allclose(indexes[name].scores(QUERIES[0], ids), true_scores(QUERIES[0])[ids], atol=1e-6)
    assert indexes[name].scores(QUERIES[0], ids[:0]).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_a_handful_of_rows(name: str, count: int, tmp_path: Path) -> None:
    index = make(name, VECTORS[:count], tmp_path)
    ids, cosines = index.search(VECTORS[0].astype(np.float32), 50)
    assert sorted(ids.tolist()) == list(range(count))
    assert ids[0] == 0
    assert cosines[0] == pytest.approx(1, abs=1e-2)
    none = index.search(QUERIES[0], K, Rows(np.zeros(count, np.bool_)))
    assert [len(part) for part in none] == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_another_size_is_refused(name: str, indexes: dict[str, Searchable]) -> None:
    with pytest.raises(ValueError, match="a mask of 3001 rows"):
        indexes[name].search(QUERIES[0], K, Rows(np.ones(ROWS + 1, np.bool_)))


@pytest.mark.parametrize("kind", list(DenseKind))
def test_the_file_serves_mapped_vectors_and_many_threads(kind: DenseKind, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", VECTORS)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    facts = build(mapped, tmp_path / "index", kind=kind, recall_target=0.98, threads=2)
    first, second = (DenseIndex.open(tmp_path / "index", vectors, facts) for vectors in (VECTORS, mapped))
    assert (len(second), second.dimension, second.kind) == (ROWS, DIMENSION, kind)
    rows = rows_of(0.2)
    expected = [first.search(query, K, rows) for query in QUERIES]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: second.search(query, K, rows), list(QUERIES) * 5))
    assert all(same(a, b) for a, b in zip(found, expected * 5, strict=True))


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_facts_tell_what_was_measured(kind: DenseKind, tmp_path: Path) -> None:
    facts = build(VECTORS, tmp_path / "index", kind=kind, recall_target=0.98, threads=1)
    assert (facts["kind"], facts["rows"], facts["dimension"], facts["k"]) == (kind.value, ROWS, DIMENSION, 10)
    assert facts["recall"] >= 0.98
    assert facts["efSearch" if kind is DenseKind.HNSW else "nprobe"] >= 1
    own = build(VECTORS, tmp_path / "own", kind=kind, recall_target=0.98, threads=1, questions=QUERIES)
    assert own["recall"] >= 0.98


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_what_is_there_several_times_is_not_searched_harder_for(kind: DenseKind, tmp_path: Path) -> None:
    """Which copies are found does not matter: else no effort would be enough."""
    copies = np.random.default_rng(3).permutation(np.tile(clustered(ROWS // 4), (4, 1)))
    facts = build(copies, tmp_path / "index", kind=kind, recall_target=0.98, threads=1)
    most = len(copies) if kind is DenseKind.HNSW else facts["nlist"]
    assert facts["recall"] >= 0.98
    assert facts["efSearch" if kind is DenseKind.HNSW else "nprobe"] <= most / 4


@pytest.mark.parametrize("kind", list(DenseKind))
def test_a_damaged_file_is_refused(kind: DenseKind, tmp_path: Path) -> None:
    path = tmp_path / "index"
    facts = build(VECTORS, path, kind=kind, recall_target=0.98, threads=1)
    whole = path.read_bytes()
    for size in (0, 3, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DenseCorrupt):
            DenseIndex.open(path, VECTORS, facts)
        if size <= 50:  # FAISS itself does not notice that a mapped file lacks its end
            with pytest.raises(DenseCorrupt):
                DenseIndex.open(path, VECTORS, facts | {"bytes": size})
    path.write_bytes(b"\0" * len(whole))
    with pytest.raises(DenseCorrupt):
        DenseIndex.open(path, VECTORS, facts)
    path.unlink()
    with pytest.raises(DenseCorrupt):
        DenseIndex.open(path, VECTORS, facts)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    facts = build(VECTORS, path, kind=DenseKind.FLAT, recall_target=1, threads=1)
    ivf = build(VECTORS, tmp_path / "ivf", kind=DenseKind.IVF, recall_target=0.98, threads=1)
    wrong: list[tuple[np.ndarray, dict[str, Any]]] = [
        (VECTORS[:-1], facts),
        (VECTORS[:, :-1], facts),
        (VECTORS.astype(np.float32), facts),
        (VECTORS, facts | {"kind": "hnsw", "scale": 127.0, "effort": [[10, 16, 1, 1]]}),
        (VECTORS, facts | {"kind": "tree"}),
        (VECTORS, {}),
    ]
    for vectors, told in wrong:
        with pytest.raises(DenseCorrupt):
            DenseIndex.open(path, vectors, told)
    for effort in (None, [], [[10, 1]], [["ten", 1, 1, 1]]):
        with pytest.raises(DenseCorrupt):
            DenseIndex.open(tmp_path / "ivf", VECTORS, ivf | {"effort": effort})
    faiss.write_index(faiss.IndexFlatL2(DIMENSION), str(path))
    with pytest.raises(DenseCorrupt, match="is not a flat index"):
        DenseIndex.open(path, VECTORS, facts | {"bytes": path.stat().st_size})


def test_a_graph_of_other_nodes_than_bytes_is_refused(tmp_path: Path) -> None:
    facts = build(VECTORS, tmp_path / "graph", kind=DenseKind.HNSW, recall_target=0.98, threads=1)
    other = faiss.IndexHNSWSQ(DIMENSION, faiss.ScalarQuantizer.QT_fp16, 8, faiss.METRIC_L2)
    other.train(VECTORS.astype(np.float32))
    other.add(VECTORS.astype(np.float32))
    faiss.write_index(other, str(tmp_path / "other"))
    told = facts | {"bytes": (tmp_path / "other").stat().st_size}
    with pytest.raises(DenseCorrupt, match="nodes of 64 bytes"):
        DenseIndex.open(tmp_path / "other", VECTORS, told)


def test_bytes_are_as_near_as_their_steps_are_fine_and_clipped_at_the_ends() -> None:
    vectors = np.array([[0.5, -0.5, 0.0], [0.25, 9.0, -9.0]], np.float32)
    assert byte_values(vectors, 254.0).tolist() == [[255, 1, 128], [192, 255, 0]]
    scale = byte_scale(VECTORS)
    told = byte_values(VECTORS.astype(np.float32), scale)
    assert (told == np.rint(told)).all()
    back = (told - 128) / scale
    assert np.quantile(np.abs(back - VECTORS), 0.999) <= 0.5 / scale + 1e-4


@pytest.mark.parametrize("wanted", [1, 40])
def test_a_walk_that_sees_too_few_that_may_be_found_goes_further(wanted: int, tmp_path: Path) -> None:
    """The filter is of what lies furthest from the query; a walk that stops near the query meets none of it."""
    facts = build(VECTORS, tmp_path / "graph", kind=DenseKind.HNSW, recall_target=0.98, threads=1)
    graph = DenseIndex.open(tmp_path / "graph", VECTORS, facts, brute_rows=1)  # next to nothing is compared one by one
    rows = Rows(true_scores(QUERIES[0]) < 0)
    found = graph.search_many(QUERIES[:3], wanted, rows)
    for query, (ids, cosines) in zip(QUERIES[:3], found, strict=True):
        assert rows.mask[ids].all()
        # Where hundreds lie equally far, bytes do not tell them apart.
        assert np.allclose(cosines, true_scores(query)[oracle(query, wanted, rows)], atol=1e-3)


def test_rows_are_read_from_their_file_in_the_order_asked(tmp_path: Path) -> None:
    VECTORS.tofile(tmp_path / "vectors")
    reader = RowReader(tmp_path / "vectors", DIMENSION)
    ids = np.array([5, 2999, 5, 0], np.int64)
    assert np.array_equal(reader.take(ids), VECTORS[ids])
    assert reader.take(ids[:0]).shape == (0, DIMENSION)
    with pytest.raises(OSError, match="ends before row 3000"):
        reader.take(np.array([3000], np.int64))


def test_the_head_is_searched_while_it_grows() -> None:
    head, done = HeadVectors(DIMENSION), threading.Event()
    head.append(VECTORS[:1].astype(np.float32))

    def search() -> int:
        searches = 0
        while not done.is_set() or not searches:
            least = head.count
            query = VECTORS[least - 1].astype(np.float32)
            ids, cosines = head.search(query, 5)
            assert np.allclose(cosines, true_scores(query)[ids], atol=1e-6)
            assert least - 1 in ids  # what was published before the search began is found by it
            ids, _ = head.search(query, 5, Rows(np.arange(least) % 2 == 0))
            assert (ids % 2 == 0).all()
            assert len(ids) == min(5, (least + 1) // 2)
            searches += 1
        return searches

    with ThreadPoolExecutor(3) as pool:
        searching = [pool.submit(search) for _ in range(3)]
        try:
            for start in range(1, ROWS, 7):
                head.append(VECTORS[start : start + 7].astype(np.float32))
        finally:
            done.set()
        assert all(thread.result() for thread in searching)
    assert head.count == ROWS
    assert np.array_equal(head.vectors(np.arange(ROWS)), VECTORS.astype(np.float32))


def test_the_head_rounds_to_what_a_segment_keeps() -> None:
    vectors = np.random.default_rng(6).standard_normal((3, DIMENSION)).astype(np.float32)
    head = HeadVectors(DIMENSION)
    assert [head.append(vectors), head.append(vectors[:0]), head.append(vectors)] == [0, 3, 3]
    assert np.array_equal(head.vectors(np.array([4])), vectors[1:2].astype(np.float16).astype(np.float32))
    with pytest.raises(ValueError, match="must be"):
        head.append(vectors[:, :-1])
    assert head.count == 6


def test_an_empty_head_finds_nothing() -> None:
    assert [len(part) for part in HeadVectors(DIMENSION).search(QUERIES[0], K)] == [0, 0]


def test_policy() -> None:
    assert DensePolicy().choose(20_000) is DenseKind.FLAT
    assert DensePolicy().choose(20_001) is DenseKind.HNSW
    assert DensePolicy(gpu=True).choose(20_001) is DenseKind.IVF
    assert DensePolicy(DenseKind.HNSW, flat_rows=5).choose(6) is DenseKind.HNSW
    assert DensePolicy(DenseKind.HNSW, flat_rows=5).choose(5) is DenseKind.FLAT


def test_effort_grows_with_k_between_and_beyond_what_was_measured() -> None:
    curve = EffortCurve([Effort(10, 4, 8, 0.98), Effort(1000, 64, 4, 0.99)])
    assert [curve.at(k) for k in (1, 10, 1000)] == [(4, 8), (4, 8), (64, 4)]
    breadth, candidates = curve.at(100)
    assert (breadth, candidates) == (16, pytest.approx(32**0.5))
    assert curve.at(10_000)[0] == 256
    assert EffortCurve.from_facts(curve.facts()).points == curve.points
    with pytest.raises(ValueError, match="ascending"):
        EffortCurve([Effort(10, 1, 1, 1), Effort(10, 1, 1, 1)])
