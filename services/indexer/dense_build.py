"""Builds the FAISS index of a sealed segment and measures how far a search in it must look."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from services.indexer.chunks import Ids, Vectors
from services.indexer.dense_effort import Effort, EffortCurve
from services.indexer.dense_exact import Halves, Take, codes, flat_index, many_threads, widened
from services.indexer.dense_finders import BRUTE_ROWS, IvfFinder
from services.indexer.dense_graph import GraphFinder, byte_scale, byte_values
from services.indexer.dense_kinds import DenseKind

LISTS_PER_ROOT = 3.0
"""Lists are this many times the square root of the rows. More and shorter ones search faster, and take longer to learn:
the time grows with their square."""

TRAINING_ROWS_PER_LIST = 24
TRAINING_ROUNDS = 4
ASSIGNING_BREADTH = 32
"""How far the graph of centroids is walked (efSearch) to put a row in its list."""

GRAPH_NEIGHBOURS = 32
GRAPH_BUILD_BREADTH = 80
"""Between 64 (48 s of processor for 100,000 rows, and 128 nodes in view for a recall of .98) and 128 (90 s, and about
88): a chunk is built in again and again while segments are merged."""

_faiss: Any = faiss  # its type stubs do not know all its functions

_BATCH = 16_384
_QUERIES = 200
_ROWS_PER_QUERY = 2
_MEASURED_K = (10, 100, 1000)
_FILTERED_TARGET = 0.99
"""Recall of what filters ask for; see EffortCurve. A filtered search owes more than one that has all to choose from."""

_LEAST_PROBES = 16
"""Lists that a search probes at least, whatever was measured. Vectors that come in tight groups make the questions
made up from them too easy: of 250 variants of each text, the 6 lists measured gave 0.956 of the nearest, 16 0.988."""

_LEAST_NODES = 64
"""Nodes that a search in a graph keeps in view at least."""

_LEAST_CANDIDATES = 24
"""Candidates of coarse codes for each row asked for, at the smallest k measured: 6 were measured enough for made-up
questions and gave 0.960 of what held-out texts asked for. Comparing a hundred more takes 0.05 ms."""

_ROUNDING = 1e-5
"""Cosines of the same two vectors may differ by so much, by the order in which they were added up."""

_STEP = 1.5
_CLOSE = 1.06
"""Breadths tried grow by the one, until enough is found, and the least that does is known to the other."""

_CANDIDATES = (4, 6, 8, 12, 16, 24, 32, 48, 64)
_SEED = 20


def build(
    vectors: Halves,
    path: Path,
    *,
    kind: DenseKind,
    recall_target: float,
    threads: int,
    questions: Vectors | None = None,
) -> dict[str, Any]:
    """Writes an index of vectors in FAISS's own format. Takes about a minute for a million rows in one thread.

    Args:
        vectors: float16, shape (rows ≥ 1, d), L2-normalised; may be memory-mapped.
        path: The file to write.
        kind: The kind of index.
        recall_target: Share of the true nearest that a search is to find. An exact kind finds all.
        threads: Threads to compute with.
        questions: float32, shape (m ≥ 1, d), L2-normalised: what people may ask, to measure recall with; a few hundred.
            None makes them up from the rows.

    Returns:
        What `DenseIndex.open` needs to know and people may like to, as JSON can hold it: `kind`, `rows`, `dimension`,
        `bytes` of the file, `build_seconds`, and for an approximate kind `nlist` (IVF), `effort` (see EffortCurve), and
        of its first point `k`, `nprobe` or `efSearch`, and the `recall` measured at that k.
    """
    begun = time.monotonic()
    vectors = np.asarray(vectors)
    many_threads(threads)
    try:
        facts: dict[str, Any] = {"kind": kind.value, "rows": len(vectors), "dimension": vectors.shape[1]}
        if kind is DenseKind.HNSW:
            facts["scale"] = byte_scale(vectors)
            index = _hnsw(vectors, facts["scale"])
        else:
            index = _BUILDERS[kind](vectors)
        facts |= _calibrated(index, vectors, facts, recall_target, questions)
        faiss.write_index(index, str(path))
    finally:
        many_threads(1)
    return facts | {"bytes": path.stat().st_size, "build_seconds": round(time.monotonic() - begun, 2)}


def finder_of(
    index: Any,
    vectors: Halves,
    facts: Mapping[str, Any],
    effort: EffortCurve,
    *,
    brute_rows: int = BRUTE_ROWS,
    take: Take | None = None,
) -> GraphFinder | IvfFinder:
    """Gives what searches an approximate kind. Raises KeyError or ValueError when `facts` are not its own."""
    kind = DenseKind(facts["kind"])
    if kind is DenseKind.HNSW:
        return GraphFinder(index, vectors, effort, scale=float(facts["scale"]), brute_rows=brute_rows, take=take)
    return IvfFinder(index, vectors, effort, rescored=kind is DenseKind.IVF_RABITQ, brute_rows=brute_rows)


def _flat(vectors: Halves) -> Any:
    index = flat_index(vectors.shape[1])
    index.add_sa_codes(codes(vectors))
    return index


def _ivf(vectors: Halves) -> Any:
    quantizer, lists = _quantizer(vectors)
    # Not by residual: what is kept must be the float16 values themselves, for the cosines to be those of every kind.
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, vectors.shape[1], lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    return _filled(index, quantizer, vectors)


def _ivf_rabitq(vectors: Halves) -> Any:
    quantizer, lists = _quantizer(vectors)
    index = faiss.IndexIVFRaBitQ(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.qb = 8
    return _filled(index, quantizer, vectors)


_BUILDERS = {DenseKind.FLAT: _flat, DenseKind.IVF: _ivf, DenseKind.IVF_RABITQ: _ivf_rabitq}


def _hnsw(vectors: Halves, scale: float) -> Any:
    kind: Any = faiss.ScalarQuantizer.QT_8bit_direct  # its stub asks for a ScalarQuantizer
    index: Any = faiss.IndexHNSWSQ(vectors.shape[1], kind, GRAPH_NEIGHBOURS, faiss.METRIC_L2)
    index.hnsw.efConstruction = GRAPH_BUILD_BREADTH
    index.train(byte_values(widened(vectors[:1]), scale))
    for start in range(0, len(vectors), _BATCH):
        index.add(byte_values(widened(vectors[start : start + _BATCH]), scale))
    return index


def _quantizer(vectors: Halves) -> tuple[Any, int]:
    """Gives the centroids of lists, as an index, and how many they are."""
    rows, dimension = vectors.shape
    lists = max(1, min(round(LISTS_PER_ROOT * math.sqrt(rows)), rows // 4))
    sample = widened(vectors[_sampled(rows, TRAINING_ROWS_PER_LIST * lists)])
    clustering = faiss.Clustering(dimension, lists)
    clustering.niter = TRAINING_ROUNDS
    clustering.spherical = True
    clustering.min_points_per_centroid = 1  # or FAISS warns on stderr
    clustering.max_points_per_centroid = TRAINING_ROWS_PER_LIST
    clustering.seed = _SEED
    quantizer = faiss.IndexFlatIP(dimension)
    clustering.train(sample, quantizer)
    return quantizer, lists


def _filled(index: Any, quantizer: Any, vectors: Halves) -> Any:
    index.train(widened(vectors[:_BATCH]))  # the lists are there; this is for the codes, which learn next to nothing
    index.own_fields = True  # the index frees the quantizer, and Python does not
    quantizer.this.disown()
    # A graph of the centroids puts rows in lists in a third of the time that comparing with each of them takes. That it
    # misses the nearest at times does little harm. Searching by it would: it has centroids that no walk reaches.
    graph = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efSearch = ASSIGNING_BREADTH
    graph.add(quantizer.reconstruct_n(0, index.nlist))
    for start in range(0, len(vectors), _BATCH):
        rows = widened(vectors[start : start + _BATCH])
        _, lists = graph.search(rows, 1)
        index.add_core(len(rows), _faiss.swig_ptr(rows), None, _faiss.swig_ptr(lists))
    return index


def _calibrated(
    index: Any, vectors: Halves, known: Mapping[str, Any], target: float, questions: Vectors | None
) -> dict[str, Any]:
    """Gives the facts of an approximate kind: the least effort that found enough, for several k."""
    kind = DenseKind(known["kind"])
    if kind is DenseKind.FLAT:
        return {}
    rows = len(vectors)
    finder = finder_of(index, vectors, known, EffortCurve([Effort(1, 1, 1, 0)]))
    ks = sorted({min(k, max(1, rows // 10)) for k in _MEASURED_K})
    queries = _questions(vectors) if questions is None else np.ascontiguousarray(questions, dtype=np.float32)
    nearest = _nearest(vectors, queries, max(ks))
    points: list[Effort] = []
    for k in ks:
        goal = target if k == ks[0] else max(target, _FILTERED_TARGET)
        goal += (1 - goal) / 4  # what is measured on a sample can be luck
        some = slice(max(_QUERIES // 4, _QUERIES * ks[0] // k))  # each tells more the more it finds
        trial = _Trial(finder, queries[some], k, nearest[some, k - 1])
        if points:
            points.append(trial.least_effort(goal, breadth=points[-1].breadth, candidates=_CANDIDATES[0]))
        else:
            least = _LEAST_NODES if kind is DenseKind.HNSW else _LEAST_PROBES
            points.append(trial.least_effort(goal, breadth=least, candidates=_LEAST_CANDIDATES))
    first = points[0]
    breadth_name = "efSearch" if kind is DenseKind.HNSW else "nprobe"
    facts: dict[str, Any] = {} if kind is DenseKind.HNSW else {"nlist": int(index.nlist)}
    facts |= {"k": first.k, breadth_name: first.breadth, "recall": round(first.recall, 4)}
    if kind is DenseKind.IVF_RABITQ:
        facts["candidates"] = first.candidates
    return facts | {"effort": EffortCurve(points).facts()}


@dataclass(frozen=True)
class _Trial:
    """Queries (m, d) of which it is known how near the `k` nearest rows are: the cosines (m,) of the furthest of them.

    Not which they are: of a video that was uploaded twice each row is there twice, and either is right.
    """

    finder: GraphFinder | IvfFinder
    queries: Vectors
    k: int
    furthest: Vectors

    def recall(self, breadth: int, candidates: float) -> float:
        found = self.finder.attempt(self.queries, self.k, breadth, candidates)
        near = [cosines >= limit - _ROUNDING for (_, cosines), limit in zip(found, self.furthest, strict=True)]
        return int(np.concatenate(near).sum()) / (self.k * len(self.queries))

    def least_effort(self, goal: float, *, breadth: float, candidates: float) -> Effort:
        """Gives the least effort, but no less than `breadth` and `candidates`, that reaches the recall; or the most."""
        rescored = isinstance(self.finder, IvfFinder) and self.finder.rescored
        most = float(_CANDIDATES[-1] if rescored else 1)
        breadth = min(self.finder.widest, math.ceil(breadth))
        reached = self.recall(breadth, most)
        short = breadth
        while reached < goal and breadth < self.finder.widest:
            short, breadth = breadth, min(self.finder.widest, max(breadth + 1, round(breadth * _STEP)))
            reached = self.recall(breadth, most)
        while breadth > short * _CLOSE and breadth - short > 1:
            middle = round(math.sqrt(short * breadth))
            if (recall := self.recall(middle, most)) >= goal:
                breadth, reached = middle, recall
            else:
                short = middle
        for fewer in [number for number in _CANDIDATES[:-1] if rescored and number >= candidates]:
            if (recall := self.recall(breadth, fewer)) >= min(goal, reached - (1 - goal) / 4):
                return Effort(self.k, breadth, fewer, recall)
        return Effort(self.k, breadth, most, reached)


def _questions(vectors: Halves) -> Vectors:
    """Gives queries (m, d): means of two random rows.

    They stand for questions. Rows themselves, or rows with noise, have their nearest all in one place and make every
    index look good. Means lie between. They are a little harder to serve than held-out texts of court hearings: where
    a graph of 100,000 of these found .985 of what means of two asked for, it found .988 of what the texts did (and of
    means of three .961, of four .957).
    """
    random = np.random.default_rng(_SEED)
    chosen = vectors[random.integers(0, len(vectors), _QUERIES * _ROWS_PER_QUERY)]
    means = widened(chosen).reshape(_QUERIES, _ROWS_PER_QUERY, -1).mean(axis=1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-12), dtype=np.float32)


def _nearest(vectors: Halves, queries: Vectors, k: int) -> Vectors:
    """Gives the cosines (m, k) of the rows nearest to each query, the nearest first."""
    nearest = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(vectors), 4 * _BATCH):
        block = widened(vectors[start : start + 4 * _BATCH])
        more, _ = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        nearest = -np.sort(-np.concatenate([nearest, more], axis=1), axis=1)[:, :k]
    return nearest


def _sampled(rows: int, count: int) -> Ids:
    """Gives up to `count` different rows, ascending."""
    if count >= rows:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(_SEED).choice(rows, count, replace=False)).astype(np.int64)
