"""Cached values in Redis (or Valkey), so that several gateways have them together.

Redis bounds what it holds: give it `maxmemory` and `maxmemory-policy allkeys-lru`. What is in it is read as JSON and as
numbers, never run, but it is believed: whoever may write there can put words into answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from services.gateway.cache.store import Held

log = structlog.get_logger()

PREFIX = "earmark:"
SECONDS = 3600
"""For so long a value is kept that nobody puts again."""
TIMEOUT_SECONDS = 0.1
"""A cache that is slower than what it saves is none."""
_CONNECTIONS = 16
_PAUSE = 5.0


class RedisStore:
    """Keeps values in Redis. While that does not answer it is left alone for a while, and nothing is cached.

    Args:
        url: `redis://[user:password@]host:port/database`, or `rediss://` for TLS.
        timeout_seconds: Time that it may take.
        clock: Seconds that only grow.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # More at once wait for each other: a connection more is no quicker.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        self._redis = Redis.from_pool(pool)
        self._clock = clock
        self._not_before = 0.0

    async def get(self, key: str) -> bytes | None:
        """Gives what was put under a key last; None where that is gone, or Redis does not answer."""
        if self._clock() < self._not_before:
            return None
        try:
            value = await self._redis.get(PREFIX + key)
        except (RedisError, OSError, TimeoutError) as error:
            self._pause(error)
            return None
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes) -> None:
        """Puts a value under a key, for an hour."""
        if self._clock() < self._not_before:
            return
        try:
            await self._redis.set(PREFIX + key, value, ex=SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._pause(error)

    def held(self) -> Held:
        """Redis itself says how much there is."""
        return Held(None, None)

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    def _pause(self, error: Exception) -> None:
        if self._clock() >= self._not_before:  # of many at once the first tells
            log.warning("cache_away", error=repr(error), pause_seconds=_PAUSE)
        self._not_before = self._clock() + _PAUSE
