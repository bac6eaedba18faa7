"""Answers, kept, and given again only when the replicas they were made of say that nothing has changed.

Told by the replicas themselves, in the very moment of the search: whoever has written something and was told that it is
there finds it, through whichever gateway and from however many caches. A clock, or what a gateway happens to have heard
last of the shards, would be late by as much as it is cheaper. It costs one call to each shard that looks at nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import FailedPrecondition
from services.gateway.cache import codec
from services.gateway.cache.counts import Counts
from services.gateway.cache.embeddings import CachedEmbedder
from services.gateway.cache.store import CacheStore
from services.gateway.fanout import MadeOf
from services.gateway.routing import Freshness
from services.gateway.search import (
    MISMATCH,
    Coverage,
    ReplicaCoverage,
    SearchAnswer,
    Searches,
    SearchQuery,
    Timing,
    sequences,
)

log = structlog.get_logger()

_TRIES = 2
_CHECK_SHARE = 0.5


class Checker(Protocol):
    """Asks replicas whether they still hold what they held."""

    async def unchanged(
        self, made_of: Sequence[MadeOf], *, table_version: int, text: str, deadline: float, fresh: Freshness
    ) -> list[pb.SearchShardResponse] | None:
        """Gives what each says; None as soon as one has changed, is another, or is not to be had."""
        ...


class CachedSearch:
    """Searches, or gives the answer of before where it still holds.

    Equal queries at once are searched once. Whoever waited for another's search has the replicas asked all the same:
    that search may have begun before something that the one who waits knows to be there.

    Args:
        search: Searches.
        checker: Asks the replicas.
        store: Keeps answers.
        embedder: Keeps the vectors that `search` uses.
        deadline_seconds: Time a search may take.
        made_by: What else answers depend on: settings, and the version of what makes them.
        searched: Is told of each answer given from the store.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        search: Searches,
        checker: Checker,
        store: CacheStore,
        embedder: CachedEmbedder,
        deadline_seconds: float,
        made_by: str,
        searched: Callable[[SearchQuery, SearchAnswer], None] = lambda _query, _answer: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search = search
        self._checker = checker
        self._store = store
        self._embedder = embedder
        self._deadline_seconds = deadline_seconds
        self._made_by = made_by
        self._searched = searched
        self._clock = clock
        self._under_way: dict[str, asyncio.Event] = {}
        self.counts = Counts("answers", store)

    async def search(self, query: SearchQuery, *, timeout: float | None = None) -> SearchAnswer:
        """Searches. Raises what `Searcher.search` raises."""
        budget = self._deadline_seconds if timeout is None else min(timeout, self._deadline_seconds)
        deadline = self._clock() + budget
        if query.cursor.shown:  # of pages behind the first hardly one is asked for twice
            return await self._searched_anew(query, deadline)
        key = self._key(query)
        outcome = "miss"
        for _ in range(_TRIES):
            if (other := self._under_way.get(key)) is not None:
                try:
                    async with asyncio.timeout(max((deadline - self._clock()) * _CHECK_SHARE, 0.001)):
                        await other.wait()
                except TimeoutError:
                    break
            if (data := await self._store.get(key)) is not None:
                outcome = "changed"
                if (answer := await self._again(query, codec.read(data), deadline)) is not None:
                    self.counts.note("hit")
                    self._searched(query, answer)
                    return answer
            if key not in self._under_way:
                break
        self.counts.note(outcome)
        return await self._first(key, query, deadline)

    async def _first(self, key: str, query: SearchQuery, deadline: float) -> SearchAnswer:
        """Searches, and lets those who ask the same meanwhile wait for it."""
        done = asyncio.Event()
        mine = self._under_way.setdefault(key, done) is done
        try:
            answer = await self._searched_anew(query, deadline)
            if (data := codec.written(answer)) is not None:
                await self._store.put(key, data)
            return answer
        finally:
            if mine:
                del self._under_way[key]
                done.set()

    async def _searched_anew(self, query: SearchQuery, deadline: float) -> SearchAnswer:
        try:
            return await self._search.search(query, timeout=max(deadline - self._clock(), 0.001))
        except FailedPrecondition as error:
            # The vector may be of the model of before: the embedder is asked again, once.
            if error.reason != MISMATCH or not await self._embedder.forget(query.text):
                raise
            return await self._search.search(query, timeout=max(deadline - self._clock(), 0.001))

    async def _again(self, query: SearchQuery, kept: codec.KeptAnswer, deadline: float) -> SearchAnswer | None:
        """Gives the answer of before if it still holds."""
        started = self._clock()
        fresh = Freshness(sequences(query.tokens), query.cursor.applied)
        told = await self._checker.unchanged(
            kept.made_of,
            table_version=kept.table_version,
            text=query.text,
            deadline=started + (deadline - started) * _CHECK_SHARE,
            fresh=fresh,
        )
        if told is None:
            return None
        coverage = Coverage(
            shards_total=len(kept.made_of),
            shards_answered=len(told),
            complete=True,
            legs=kept.legs,
            embedding_model=kept.embedding_model,
            missing=[],
            replicas=[
                ReplicaCoverage(made.shard, one.replica, one.applied_sequence, one.lag, one.version)
                for made, one in zip(kept.made_of, told, strict=True)
            ],
            tokens_reached=all(one.min_sequence_reached for one in told),
            table_version=kept.table_version,
        )
        took = self._clock() - started
        timing = Timing(total=took, embed=0.0, shards=took, fuse=0.0, cached=True)
        return SearchAnswer(query.text, query.mode, kept.hits, kept.next_cursor, coverage, timing)

    def _key(self, query: SearchQuery) -> str:
        """Stands for everything but the index that an answer depends on; what the caller may see is in the filter."""
        parts = (self._made_by, query.text, query.mode.value, query.filters.key(), query.limit)
        return f"answer:1:{hashlib.sha256(repr(parts).encode()).hexdigest()}"
