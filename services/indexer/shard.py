"""The shard: both legs and the payloads, changed together and searched together."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
from prometheus_client import Histogram

from services.common.errors import EarmarkError, InvalidArgument, ModelMismatch, Unavailable
from services.common.metrics import LATENCY_SECONDS
from services.indexer.chunks import Change, Chunk, Found, Hit, Ids, Query, Vectors, unit_vector
from services.indexer.dense import DenseIndex
from services.indexer.keyword import KeywordIndex
from services.indexer.locks import ReadWriteLock
from services.indexer.payloads import PayloadTable
from services.indexer.plan import Plan, Planner
from services.indexer.terms import parse_question

MAX_K = 1000
MAX_QUERY_CHARACTERS = 20_000

SEARCH_SECONDS = Histogram(
    "earmark_indexer_search_leg_seconds",
    "Time a leg of a search took.",
    ["leg"],
    buckets=(0.0001, 0.00025, *LATENCY_SECONDS),
)
_SEMANTIC_SECONDS, _KEYWORD_SECONDS = SEARCH_SECONDS.labels("semantic"), SEARCH_SECONDS.labels("keyword")


@dataclass(frozen=True, slots=True)
class Applied:
    """What `Shard.apply` did: chunks added and removed, and the changes refused, by place in the list."""

    added: int
    removed: int
    refused: dict[int, EarmarkError]


class Shard:
    """The chunks of the videos of some slots, searchable by meaning and by words.

    One thread at a time changes it (`apply`, `advance`) or copies it (`snapshot.write`); any number of threads search.
    A search sees each `apply` whole or not at all.

    Args:
        payloads: The chunks.
        dense: Their vectors; None while there are none.
        keyword: Their terms.
        model_revision: Model of the vectors; empty while there are none.
        applied_sequence: Last stream sequence whose effect is in.

    Raises:
        ValueError: The parts do not hold the same chunks.
    """

    def __init__(
        self,
        *,
        payloads: PayloadTable,
        dense: DenseIndex | None,
        keyword: KeywordIndex,
        model_revision: str,
        applied_sequence: int,
    ) -> None:
        numbers = np.sort(np.fromiter(payloads.numbers, np.int64))
        vectors = np.sort(dense.ids) if dense is not None else np.empty(0, np.int64)
        if not np.array_equal(numbers, vectors) or not np.array_equal(numbers, np.sort(keyword.ids)):
            counts = f"{len(payloads)} chunks, {len(vectors)} vectors and {len(keyword)} keyword entries"
            raise ValueError(f"{counts} are not the same")
        self._payloads = payloads
        self._dense = dense
        self._keyword = keyword
        self._model_revision = model_revision
        self._applied_sequence = applied_sequence
        self._changes = 0
        self._whole = True
        self._lock = ReadWriteLock()

    @classmethod
    def empty(cls, folder: Path) -> Self:
        """Gives a shard that holds nothing. `folder` is for the keyword leg; what is in it goes."""
        shutil.rmtree(folder, ignore_errors=True)
        keyword = KeywordIndex(folder)
        return cls(payloads=PayloadTable(), dense=None, keyword=keyword, model_revision="", applied_sequence=0)

    @property
    def chunk_count(self) -> int:
        """Chunks held."""
        return len(self._payloads)

    @property
    def video_count(self) -> int:
        """Videos with at least one chunk."""
        return self._payloads.video_count

    @property
    def model_revision(self) -> str:
        """Model of the vectors; empty while there are none."""
        return self._model_revision

    @property
    def applied_sequence(self) -> int:
        """Last stream sequence whose effect is in the shard."""
        return self._applied_sequence

    @property
    def changes(self) -> int:
        """Grows whenever the chunks held change."""
        return self._changes

    @property
    def whole(self) -> bool:
        """Whether every change begun was also ended: if not, the legs differ, and only a restart helps."""
        return self._whole

    @property
    def payloads(self) -> PayloadTable:
        """The chunks; for the writer's thread."""
        return self._payloads

    @property
    def dense(self) -> DenseIndex | None:
        """The dense leg, None while there are no vectors; for the writer's thread."""
        return self._dense

    @property
    def keyword(self) -> KeywordIndex:
        """The keyword leg; for the writer's thread."""
        return self._keyword

    def apply(self, changes: Sequence[Change], *, sequence: int | None = None) -> Applied:
        """Makes changes, in order and as one: a change that cannot be made is refused and the others are made.

        Args:
            changes: The changes.
            sequence: Stream sequence they bring the shard to; None when they do not come from the stream.

        Returns:
            What was done. Refused are InvalidArgument (a wrong chunk or vector) and ModelMismatch.

        Raises:
            Unavailable: The disk did not take the change; nothing was changed, and the same call can be made again.
        """
        planner = Planner(
            self._payloads,
            model_revision=self._model_revision,
            dimension=self._dense.dimension if self._dense is not None else 0,
            stored=self._stored_vectors,
        )
        plan = planner.plan(list(changes))
        if plan.removed or plan.added:
            self._make(plan)
        renamed = [self._payloads.rename(video_id, title) for video_id, title in plan.titles.items()]
        self._changes += any(renamed)
        if sequence is not None:
            self.advance(sequence)
        return Applied(len(plan.added), len(plan.removed), plan.refused)

    def advance(self, sequence: int) -> None:
        """Says that nothing up to `sequence` changes the shard any more."""
        self._applied_sequence = max(self._applied_sequence, sequence)

    def _make(self, plan: Plan) -> None:
        start = self._payloads.next_number
        added = list(enumerate(plan.added, start))
        try:
            self._keyword.stage(removed=plan.removed, added=added)
            self._keyword.commit()
        except (OSError, ValueError) as error:  # tantivy tells of a full disk as ValueError
            raise Unavailable(f"the index cannot be written just now: {error}") from error
        self._whole = False
        with self._lock.write():
            if self._dense is None and added:
                self._dense = DenseIndex.empty(plan.dimension)
            if self._dense is not None:
                self._dense.remove(np.array(plan.removed, np.int64))
                if added:
                    if len(self._dense) == 0 and self._dense.dimension != plan.dimension:
                        self._dense = DenseIndex.empty(plan.dimension)
                    self._dense.add(np.arange(start, start + len(added), dtype=np.int64), np.stack(plan.vectors))
                elif len(self._dense) == 0:
                    self._dense = None
            # The new before the old: a video whose chunks are all replaced keeps its place and title.
            for number, chunk in added:
                self._payloads.add(number, chunk, plan.titles.get(chunk.video_id, ""))
            for number in plan.removed:
                self._payloads.remove(number)
            self._model_revision = plan.model_revision if self._dense is not None else ""
            self._keyword.publish()
            self._changes += 1
        self._whole = True

    def _stored_vectors(self, ids: Ids) -> Vectors:
        assert self._dense is not None, "numbers are given to vectors only"
        return self._dense.vectors(ids)

    def search(self, query: Query) -> Found:
        """Asks the legs that the query has something for, and gives the chunks that at least one of them found.

        Raises:
            InvalidArgument: k is out of 1..1000, the vector is of the wrong length or has no direction, the text is too
                long, or there is neither.
            ModelMismatch: The vector is of another model than the index.
        """
        if not 1 <= query.k <= MAX_K:
            raise InvalidArgument(f"k is {query.k}; it can be 1 to {MAX_K}", field="k")
        if len(query.text) > MAX_QUERY_CHARACTERS:
            message = f"the text has {len(query.text)} characters; {MAX_QUERY_CHARACTERS} at most"
            raise InvalidArgument(message, field="text")
        if query.vector is None and not query.text:
            raise InvalidArgument("give a vector, a text, or both", field="vector")
        vector = None if query.vector is None else unit_vector(query.vector)
        question = parse_question(query.text) if query.text else None
        legs = ("semantic",) * (vector is not None) + ("keyword",) * (question is not None)

        with self._lock.read():
            if vector is not None:
                self._check_vector(vector, query.model_revision)
            videos = self._payloads.known_videos(query.filter)
            nothing_passes = bool(query.filter.video_ids) and not videos
            dense = self._dense
            if dense is None or nothing_passes:
                return Found([], legs, self._applied_sequence)
            semantic: dict[int, float] = {}
            keyword: dict[int, float] = {}
            if vector is not None:
                with _SEMANTIC_SECONDS.time():
                    found = dense.search(vector, query.k, among=self._payloads.select(query.filter))
                    semantic = _scores(*found)
            if question is not None:
                with _KEYWORD_SECONDS.time():
                    found = self._keyword.search(question, query.k, only=query.filter, videos=videos)
                    keyword = _scores(*found)
            if vector is not None and (beyond := [number for number in keyword if number not in semantic]):
                # 30 µs for 50, and the fusion then knows how near the chunks are that only the words found.
                ids = np.array(beyond, np.int64)
                semantic.update(_scores(ids, dense.scores(vector, ids)))
            numbers = dict.fromkeys([*semantic, *keyword])
            described = [self._payloads.described(number) for number in numbers]
            sentences = sentence_scores([chunk for chunk, _ in described], vector)
            hits = [
                Hit(number, chunk, title, semantic.get(number), keyword.get(number), of_sentences)
                for number, (chunk, title), of_sentences in zip(numbers, described, sentences, strict=True)
            ]
            return Found(hits, legs, self._applied_sequence)

    def _check_vector(self, vector: Vectors, model_revision: str) -> None:
        if self._dense is None:
            return
        if model_revision != self._model_revision:
            asked = model_revision or "no named model"
            raise ModelMismatch(
                f"the index holds vectors of {self._model_revision}, the query's is of {asked}",
                field="model_revision",
                metadata={"index_model": self._model_revision, "model": model_revision},
            )
        if len(vector) != self._dense.dimension:
            message = f"the vector has {len(vector)} numbers, those of the index {self._dense.dimension}"
            raise InvalidArgument(message, field="vector")

    def digest(self) -> str:
        """Gives a hash of all it holds, the same for replicas that agree; for the writer's thread."""
        numbers = sorted(self._payloads.numbers, key=lambda number: self._payloads.chunk(number).chunk_id)
        total = hashlib.sha256(self._model_revision.encode())
        for number in numbers:
            total.update(repr(self._payloads.chunk(number)).encode())
            total.update(self._stored_vectors(np.array([number], np.int64)).tobytes())
        return total.hexdigest()

    def close(self) -> None:
        """Ends the writer of the keyword leg. What is not in a snapshot is lost."""
        self._keyword.close()


def sentence_scores(chunks: Sequence[Chunk], vector: Vectors | None) -> Sequence[Sequence[float]]:
    """Gives the cosine of every sentence of the chunks, all in one product.

    Args:
        chunks: The chunks; one without sentence vectors gets no scores.
        vector: float32, shape (dimension,), L2-normalised; None gives no scores.
    """
    rows = np.frombuffer(b"".join(chunk.sentence_vectors for chunk in chunks), np.int8)
    if vector is None or not len(rows):
        return [()] * len(chunks)
    dimension = len(vector)
    # Not `@`: see DenseIndex.scores.
    products = np.einsum("ij,j->i", rows.reshape(-1, dimension).astype(np.float32), vector / np.float32(127)).tolist()
    ends = list(accumulate(len(chunk.sentence_vectors) // dimension for chunk in chunks))
    return [products[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _scores(ids: Ids, scores: Vectors) -> dict[int, float]:
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))
