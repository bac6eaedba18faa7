"""Query vectors, kept: the same words have the same vector as long as the model is the same."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from services.common.errors import DeadlineExceeded
from services.gateway.cache.counts import Counts
from services.gateway.cache.store import CacheStore
from services.gateway.search import QueryEmbedder, QueryVector

_FRESH_SECONDS = 2.0
_REMEMBERED = 1000


class CachedEmbedder:
    """Asks the embedder only for what it has not said before, and once for what several ask at the same time.

    A vector is kept with the revision of its model. Which one the index wants is known when the shards answer: where
    they refuse a vector that was kept, it is forgotten (`forget`) and asked for anew.

    Args:
        embedder: Embeds.
        store: Keeps vectors.
        clock: Seconds that only grow.
    """

    def __init__(
        self, embedder: QueryEmbedder, store: CacheStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._embedder = embedder
        self._store = store
        self._under_way: dict[str, asyncio.Task[QueryVector]] = {}
        self._forgotten: set[str] = set()
        self._embedded_at: OrderedDict[str, float] = OrderedDict()
        self.counts = Counts("embeddings", store)

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        """Gives the vector of `text` in at most `timeout` seconds. Raises EarmarkError."""
        key = _key(text)
        if key not in self._forgotten and (kept := await self._store.get(key)) is not None:
            self.counts.note("hit")
            return _read(kept)
        task = self._under_way.get(key)
        if task is None:
            self.counts.note("miss")
            task = asyncio.create_task(self._embed(key, text, timeout), name="embed-query")
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
            # One that nobody awaits any more must not complain of being alone.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        else:
            self.counts.note("hit")
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(task)
        except TimeoutError:
            raise DeadlineExceeded(f"the query was not embedded in {timeout:.1f} s") from None

    async def _embed(self, key: str, text: str, seconds: float) -> QueryVector:
        vector = await self._embedder.embed_query(text, timeout=seconds)
        await self._store.put(key, _written(vector))
        self._forgotten.discard(key)
        self._embedded_at[key] = self._clock()
        self._embedded_at.move_to_end(key)
        if len(self._embedded_at) > _REMEMBERED:
            self._embedded_at.popitem(last=False)
        return vector

    async def forget(self, text: str) -> bool:
        """Has a vector asked for anew; False when it is fresh, so that the embedder would say the same again."""
        key = _key(text)
        if self._clock() - self._embedded_at.get(key, float("-inf")) < _FRESH_SECONDS:
            return False
        if len(self._forgotten) >= _REMEMBERED:  # those lost are refused by the shards once more
            self._forgotten.clear()
        self._forgotten.add(key)
        return True


def _key(text: str) -> str:
    return f"vector:1:{hashlib.sha256(text.encode()).hexdigest()}"


def _written(vector: QueryVector) -> bytes:
    revision = vector.model_revision.encode()
    return len(revision).to_bytes(2, "big") + revision + vector.vector


def _read(data: bytes) -> QueryVector:
    end = 2 + int.from_bytes(data[:2], "big")
    return QueryVector(data[end:], data[2:end].decode())
