"""Cached searches over a real indexer that follows real events: what was said to be there is found, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from services.common.videos.model import VideoStatus
from services.gateway.cache.answers import CachedSearch
from services.gateway.cache.embeddings import CachedEmbedder
from services.gateway.cache.redis_store import RedisStore
from services.gateway.cache.store import CacheStore, MemoryStore
from services.gateway.clients import GrpcShard
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout
from services.gateway.routing import Routes
from services.gateway.search import QueryVector, SearchAnswer, Searcher, SearchQuery
from services.gateway.views import index_token
from tests.integration.indexer_support import add_video, indexer, indexer_settings
from tests.support.gateway import gateway
from tests.support.gateway_peers import chunk
from tests.support.mesh import Backbone
from tests.support.redis_servers import redis_server
from tests.support.waiting import eventually
from tests.unit.indexer.builders import MODEL, vector_of


class Embedder:
    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        return QueryVector(vector_of(text).astype("<f4").tobytes(), MODEL)


@asynccontextmanager
async def searching(backbone: Backbone, port: int, store: CacheStore) -> AsyncIterator[CachedSearch]:
    """What a gateway searches with."""
    shard = GrpcShard.connect(f"127.0.0.1:{port}")
    routes = Routes(SlotTables(backbone.database).load)
    await routes.refresh()
    directory = StaticDirectory([[shard]])
    for replica in directory.all_replicas():
        replica.looked_at(await replica.client.state(timeout=5))
    fanout = Fanout(directory=directory, routes=routes)
    embedder = CachedEmbedder(Embedder(), store)
    searcher = Searcher(
        embedder=embedder,
        fanout=fanout,
        deadline_seconds=10,
        semantic_floor=0.9,
        semantic_floor_alone=0.9,
        depth=100,
        more_per_video=2,
        concurrency=100,
    )
    yield CachedSearch(
        search=searcher, checker=fanout, store=store, embedder=embedder, deadline_seconds=10, made_by="a test"
    )
    await directory.close()


def query(text: str, **given: Any) -> SearchQuery:
    return SearchQuery.of(text, max_chars=100, seen=None, limit=100, **given)


def videos_of(answer: SearchAnswer) -> set[str]:
    assert answer.coverage.complete
    return {hit.video_id for hit in answer.hits}


@pytest.mark.parametrize("kind", [pytest.param("each its own", marks=pytest.mark.slow), "redis"])
async def test_after_ready_and_after_a_token_every_gateway_finds_it(
    backbone: Backbone, tmp_path: Path, kind: str
) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(indexer(indexer_settings(backbone.settings, tmp_path)))
        await one.until_serving()
        if kind == "redis":
            url = stack.enter_context(redis_server())
            stores: list[CacheStore] = [RedisStore(url, timeout_seconds=5) for _ in range(2)]
        else:
            stores = [MemoryStore(max_bytes=2**22, max_entries=1000) for _ in range(2)]
        gateways = [await stack.enter_async_context(searching(backbone, one.port, store)) for store in stores]
        stop = asyncio.Event()
        asked = [0, 0]

        async def crowd(search: CachedSearch) -> None:
            """Asks all the time, so that the caches are full of what was."""
            while not stop.is_set():
                answer = await search.search(query("apple"))
                asked[answer.timing.cached] += 1

        crowds = [asyncio.create_task(crowd(search)) for search in gateways * 2]
        there: set[str] = set()
        try:
            for number in range(12):
                video_id = await add_video(backbone, [["apple and more"]])
                there.add(video_id)
                if number % 2:
                    # Whoever has seen that it is ready finds it …
                    async def ready(video_id: str = video_id) -> bool:
                        return (await backbone.videos.get(video_id)).status is VideoStatus.READY

                    await eventually(ready, 20)
                    answers = await asyncio.gather(*(search.search(query("apple")) for search in gateways))
                else:
                    # … and whoever has a token does, without having waited.
                    async def token(video_id: str = video_id) -> str | None:
                        return index_token(await backbone.videos.get(video_id))

                    told = await eventually(token, 20)
                    tokens = query("apple", min_tokens=[told])
                    answers = await asyncio.gather(*(search.search(tokens) for search in gateways))
                    assert all(answer.coverage.tokens_reached for answer in answers)
                assert all(videos_of(answer) == there for answer in answers)
                if number % 4 == 3:
                    gone = there.pop()
                    await backbone.videos.mark_deleting(gone)
                    sequence = await backbone.bus.last_sequence()

                    async def applied(sequence: int = sequence) -> bool:
                        return (await one.state()).applied_sequence >= sequence

                    await eventually(applied, 20)
                    answers = await asyncio.gather(*(search.search(query("apple")) for search in gateways))
                    assert all(videos_of(answer) == there for answer in answers)
        finally:
            stop.set()
            await asyncio.gather(*crowds)
        assert asked[True] > asked[False], "most of the crowd was answered without a search"
        # A new title is one that is shown.
        await backbone.videos.describe(min(there), {"title": "Another title"})
        await eventually(
            lambda: _titled(gateways[1], min(there), "Another title"), 20, message="the new title in an answer"
        )
        last = await gateways[0].search(query("apple"))
        assert "Another title" in {hit.title for hit in last.hits}


async def _titled(search: CachedSearch, video_id: str, title: str) -> bool:
    answer = await search.search(query("apple"))
    return (video_id, title) in {(hit.video_id, hit.title) for hit in answer.hits}


async def test_a_video_that_is_added_is_found_at_once(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        store = MemoryStore(max_bytes=2**22, max_entries=1000)
        async with searching(backbone, one.port, store) as search:
            video_id = await add_video(backbone, [["pear"]])
            videos = backbone.videos

            async def indexed() -> bool:
                return (await videos.get(video_id)).status is VideoStatus.READY

            await eventually(indexed, 20)
            assert videos_of(await search.search(query("pear"))) == {video_id}
            other = await add_video(backbone, [["pear too"], ["plum"]])

            async def both() -> bool:
                return (await videos.get(other)).status is VideoStatus.READY

            await eventually(both, 20)
            assert videos_of(await search.search(query("pear"))) == {video_id, other}

            async def remembered() -> bool:  # as soon as the index has come to rest
                answer = await search.search(query("pear"))
                assert videos_of(answer) == {video_id, other}
                return answer.timing.cached

            await eventually(remembered, 20)


async def test_over_http_an_answer_says_that_it_is_the_one_of_before(common_settings: CommonSettings) -> None:
    async with gateway(common_settings) as mesh:
        for shard in mesh.shards:
            shard.says_version = True
        video = await mesh.upload()
        mesh.index(chunk(video["video_id"], 0, "the yeast eats the sugar"))
        shown = [(await mesh.http.get("/v1/search", params={"q": "yeast"})).json() for _ in range(2)]
        assert [answer["timing"]["cached"] for answer in shown] == [False, True]
        assert shown[0]["hits"] == shown[1]["hits"]
        assert "version" not in shown[0]["coverage"]["replicas"][0]
        mesh.index(chunk(video["video_id"], 1, "more yeast"))
        again = (await mesh.http.get("/v1/search", params={"q": "yeast"})).json()
        assert (again["timing"]["cached"], len(again["hits"][0]["more"])) == (False, 1)
        cache = (await mesh.http.get("/v1/operations")).json()["cache"]
        assert (cache["answers"]["hit"], cache["answers"]["miss"], cache["answers"]["changed"]) == (1, 1, 1)
        assert cache["embeddings"]["hit"] == 1
        metrics = (await mesh.http.get("/metrics")).text
        assert 'earmark_gateway_cache_total{cache="answers",outcome="hit"}' in metrics


async def test_room_of_0_keeps_nothing(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, search_cache_mib=0) as mesh:
        for shard in mesh.shards:
            shard.says_version = True
        video = await mesh.upload()
        mesh.index(chunk(video["video_id"], 0, "the yeast eats the sugar"))
        shown = [(await mesh.http.get("/v1/search", params={"q": "yeast"})).json() for _ in range(2)]
        assert [answer["timing"]["cached"] for answer in shown] == [False, False]
