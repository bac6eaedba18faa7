"""The keyword leg: BM25 by tantivy, over terms of our own making (`terms.py`), part by part of the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import tantivy
from tantivy import Query

from services.indexer.chunks import Ids, Vectors
from services.indexer.keyword_index import BLOCK, KeywordDocument, build, files, new_index, prepared, schema
from services.indexer.keyword_query import MAX_PHRASES, MAX_WORDS, MUST, SHOULD, part_queries
from services.indexer.rows import Rows
from services.indexer.terms import Question

__all__ = [
    "MAX_PHRASES",
    "MAX_WORDS",
    "HeadKeyword",
    "KeywordDocument",
    "KeywordPart",
    "build",
    "files",
    "search",
]

Scores = Vectors

_HEAD_BYTES: Final = 15_000_000  # the least that tantivy takes

# Rows that may not be found are dropped from what tantivy found, and so more is asked for than `k`: at 0.5 µs for each
# hit that is the best way while a filter lets much through. For a narrow one the query itself is kept to the blocks
# that have a row, at 6 µs a block. Measured with k = 50 over 100,000 chunks of 600 videos, ms of processor time for a
# question (no filter: 0.36), deeper / by blocks:
#   videos     50 %: 0.30 / 4.9    10 %: 1.1 / 2.1    1 %: 5.0 / 0.5    0.1 %: 5.0 / 0.1
#   any rows   50 %: 0.36 / 5.6    10 %: 0.6 / 5.7    1 %: 1.6 / 2.7    0.1 %: 4.4 / 0.8
_BLOCK_COST: Final = 12
"""Hits that cost as much as a block."""
_FEW_BLOCKS: Final = 64
"""Up to here one query for each block costs less than the set of them: 0.1 ms for 2 instead of 0.4; at 97 as much."""
_MARGIN: Final = 1.2
"""Of hits to ask for, since rows that may be found do not come evenly."""


class KeywordPart:
    """The terms of one part of the index. Any number of threads search it.

    Args:
        index: tantivy's index.
    """

    def __init__(self, index: Any) -> None:
        self._searcher = index.searcher()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens what `build` made, or a copy of it.

        The files are only read; the folder must let tantivy put a lock file into it, for the moment of opening.
        tantivy also keeps one thread for each open part, which reads `meta.json` twice a second.

        Raises:
            ValueError: A file is missing, shorter than written, or not tantivy's. Bytes that changed in place are not
                noticed: that takes a hash of the files.
        """
        part = cls(tantivy.Index.open(str(folder)))
        for field in "words", "stems":  # tantivy opens a field's files when it is first asked for
            part.searcher.doc_freq(field, "")
        return part

    @property
    def searcher(self) -> Any:
        """What tantivy searches: the part as it is now, unchanged by what comes later."""
        return self._searcher

    @property
    def documents(self) -> int:
        """Rows published."""
        return int(self._searcher.num_docs)

    def holds(self, rows: int) -> bool:
        """Says whether its rows are 0 to `rows` - 1, by their number, bounds and sum: 60 µs for 1,000 rows."""
        searcher = self._searcher
        if rows == 0 or searcher.num_docs != rows:
            return bool(searcher.num_docs == rows)
        facts = searcher.aggregate(Query.all_query(), {"row": {"stats": {"field": "row"}}})["row"]
        return bool(facts["min"] == 0 and facts["max"] == rows - 1 and facts["sum"] == rows * (rows - 1) // 2)


class HeadKeyword(KeywordPart):
    """The terms of the head, in memory. One thread adds and publishes."""

    def __init__(self) -> None:
        self._index = new_index()
        self._writer: Any = self._index.writer(heap_size=_HEAD_BYTES, num_threads=1)
        super().__init__(self._index)

    def add(self, documents: Iterable[KeywordDocument]) -> None:
        """Takes documents in; searches do not see them yet."""
        for document in documents:
            self._writer.add_document(prepared(document))

    def publish(self) -> None:
        """Lets searches that begin from now on see what was added."""
        self._writer.commit()
        self._index.reload()
        self._searcher = self._index.searcher()

    def close(self) -> None:
        """Ends the writer's threads. Searches still work, until nobody holds the head any more."""
        self._writer = None


def search(parts: Sequence[tuple[KeywordPart, Rows | None]], question: Question, k: int) -> list[tuple[Ids, Scores]]:
    """Gives the best chunks by BM25 of each part; the `k` best of all parts are among them.

    Args:
        parts: The parts, and which of their rows may be found; None means all. Rows beyond a mask are not found.
        question: What is asked; one without terms finds nothing.
        k: How many.

    Returns:
        For each part rows and scores, best first, both (n,) with n ≤ k; n < k only where no other row that may be
        found has one of the terms. Scores can be compared between parts.
    """
    searchers = [part.searcher for part, _ in parts]
    queries = part_queries(question, searchers)
    return [
        _best(searcher, query, rows, k) for searcher, query, (_, rows) in zip(searchers, queries, parts, strict=True)
    ]


def _best(searcher: Any, query: Any | None, rows: Rows | None, k: int) -> tuple[Ids, Scores]:
    if query is None or (rows is not None and rows.count == 0):
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if rows is None:
        return _hits(searcher, query, k)
    documents = int(searcher.num_docs)
    depth = k if rows.count >= documents else _depth(k, rows.count, documents)
    blocks = _blocks(rows, min(depth, documents))
    if blocks is not None:
        query = _within(query, blocks)
        depth = _depth(k, rows.count, BLOCK * len(blocks))
    while True:
        found, scores = _hits(searcher, query, depth)
        places = np.flatnonzero(rows.mask[found] if len(rows.mask) >= documents else _among(found, rows))
        if len(places) >= k or len(found) < depth:
            return found[places[:k]], scores[places[:k]]
        depth *= 4


def _depth(k: int, some: int, of: int) -> int:
    """Gives how many hits to ask for so that `k` are of `some` rows, were these spread evenly."""
    return k + 8 + int(_MARGIN * k * (of - some) / some)


def _hits(searcher: Any, query: Any, limit: int) -> tuple[Ids, Scores]:
    hits = searcher.search(query, limit, count=False).hits
    rows = searcher.fast_field_values("row", [address for _, address in hits])
    return np.array(rows, np.int64), np.array([score for score, _ in hits], np.float32)


def _among(found: Ids, rows: Rows) -> Any:
    size = len(rows.mask)
    return (found < size) & rows.mask[np.minimum(found, size - 1)]


def _blocks(rows: Rows, depth: int) -> list[int] | None:
    """Gives the blocks with a row that may be found, or None where asking for `depth` hits costs less."""
    if rows.count * _BLOCK_COST >= depth * BLOCK:
        return None
    blocks = rows.ids // BLOCK
    blocks = blocks[np.flatnonzero(np.diff(blocks, prepend=-1))]
    return None if len(blocks) * _BLOCK_COST >= depth else blocks.tolist()


def _within(query: Any, blocks: Sequence[int]) -> Any:
    if len(blocks) <= _FEW_BLOCKS:
        chosen = Query.boolean_query(
            [(SHOULD, Query.term_query(schema(), "block", block, "basic")) for block in blocks]
        )
    else:
        chosen = Query.term_set_query(schema(), "block", blocks)
    # They decide what may be found and nothing about its score.
    return Query.boolean_query([(MUST, query), (MUST, Query.const_score_query(chosen, 0.0))])
