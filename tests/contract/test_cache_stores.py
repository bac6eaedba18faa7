"""Every place to cache in does the same: in this process, and in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.gateway.cache.redis_store import RedisStore
from services.gateway.cache.store import CacheStore, MemoryStore
from tests.support.ports import free_port
from tests.support.redis_servers import redis_server


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CacheStore]:
    if request.param == "memory":
        yield MemoryStore(max_bytes=2**20, max_entries=100)
        return
    with redis_server() as url:
        opened = RedisStore(url, timeout_seconds=5)
        yield opened
        await opened.close()


async def test_what_was_put_last_is_given(store: CacheStore) -> None:
    assert await store.get("a") is None
    await store.put("a", b"one")
    await store.put("b", b"\x00\xff" * 1000)
    await store.put("a", b"two")
    assert await store.get("a") == b"two"
    assert await store.get("b") == b"\x00\xff" * 1000
    assert await store.get("c") is None


async def test_many_at_once_do_not_mix(store: CacheStore) -> None:
    async def use(number: int) -> None:
        await store.put(f"key {number}", str(number).encode())
        assert await store.get(f"key {number}") == str(number).encode()

    await asyncio.gather(*(use(number) for number in range(60)))


async def test_two_gateways_have_what_is_in_redis_together() -> None:
    with redis_server() as url:
        one, other = RedisStore(url, timeout_seconds=5), RedisStore(url, timeout_seconds=5)
        await one.put("a", b"said by one")
        assert await other.get("a") == b"said by one"
        await one.close()
        await other.close()


async def test_a_redis_that_is_away_is_no_cache_and_no_error() -> None:
    now = [0.0]
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0", clock=lambda: now[0])
    await store.put("a", b"one")
    assert await store.get("a") is None
    assert store._not_before == 5.0, "it is left alone for a while"
    now[0] = 3.0
    assert await store.get("a") is None
    assert store._not_before == 5.0
    await store.close()


async def test_a_redis_that_comes_back_is_used_again() -> None:
    now = [0.0]
    with redis_server() as url:
        store = RedisStore(url, timeout_seconds=5, clock=lambda: now[0])
        await store.put("a", b"one")
        store._not_before = 5.0
        assert await store.get("a") is None
        now[0] = 6.0
        assert await store.get("a") == b"one"
        await store.close()


async def test_memory_is_bounded_by_bytes_and_by_count() -> None:
    store = MemoryStore(max_bytes=20_000, max_entries=10)
    for number in range(50):
        await store.put(str(number), b"x" * 100)
    assert store.held().entries == 10
    assert await store.get("39") is None
    assert await store.get("40") is not None
    await store.put("49b", b"x")  # the one that was asked for last stays, the oldest other goes
    assert await store.get("40") is not None
    assert await store.get("41") is None
    for number in range(20):
        await store.put(f"large {number}", b"x" * 4000)
    held = store.held()
    assert held.bytes is not None
    assert held.bytes <= 20_000
    assert held.entries == 4
    await store.put("too large", b"x" * 6000)
    assert await store.get("too large") is None
    await store.put("large 19", b"x" * 6000)
    assert await store.get("large 19") is None, "what was there before is not what was put last"
    await store.close()
    assert (store.held().entries, store.held().bytes) == (0, 0)
