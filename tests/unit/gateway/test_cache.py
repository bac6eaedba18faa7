"""Cached searches: quick where nothing has changed, and never older than the index says it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import FailedPrecondition, Overloaded, Unavailable
from services.common.ids import slot_of
from services.common.index_token import IndexToken
from services.gateway.cache.answers import CachedSearch
from services.gateway.cache.embeddings import CachedEmbedder
from services.gateway.cache.store import CacheStore, MemoryStore
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout
from services.gateway.filters import SearchFilter
from services.gateway.search import QueryVector, SearchAnswer, Searcher, SearchQuery
from tests.support import eventually
from tests.support.gateway_peers import MODEL, Direct, FakeShard, chunk, hash_vector, routes_of, spread

WORDS = ["bread", "yeast", "sugar", "dough", "oven"]


class Embedder:
    """Hashes words, and counts how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.model = MODEL
        self.error: Exception | None = None
        self.let_go: asyncio.Event | None = None

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        self.asked.append(text)
        if self.let_go is not None:
            await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return QueryVector(hash_vector(text).tobytes(), self.model)


class Gateway:
    """Searches with a cache, and without, over the same shards."""

    def __init__(self, *shards: FakeShard, store: CacheStore | None = None, made_by: str = "a test") -> None:
        self.shards = shards
        self.embedder = Embedder()
        self.directory = StaticDirectory([[Direct(shard)] for shard in shards])
        self.fanout = Fanout(directory=self.directory, routes=routes_of(len(shards)))
        self.store = store or MemoryStore(max_bytes=2**22, max_entries=1000)
        self.now = 0.0
        self.cached_embedder = CachedEmbedder(self.embedder, self.store, clock=lambda: self.now)
        self.told: list[SearchAnswer] = []
        self.search = CachedSearch(
            search=self.searcher(self.cached_embedder),
            checker=self.fanout,
            store=self.store,
            embedder=self.cached_embedder,
            deadline_seconds=5,
            made_by=made_by,
            searched=lambda _, answer: self.told.append(answer),
        )
        self.uncached = self.searcher(self.embedder)

    def searcher(self, embedder: Any) -> Searcher:
        return Searcher(
            embedder=embedder,
            fanout=self.fanout,
            deadline_seconds=5,
            semantic_floor=0.2,
            semantic_floor_alone=0.5,
            depth=50,
            more_per_video=2,
            concurrency=100,
        )

    @property
    def searches(self) -> int:
        """Searches that shards have done."""
        return sum(shard.searches for shard in self.shards)


def query(text: str, *, seen: Collection[str] | None = None, **given: Any) -> SearchQuery:
    return SearchQuery.of(text, max_chars=100, seen=seen, **given)


def shown(answer: SearchAnswer) -> tuple[Any, ...]:
    """All of an answer that whoever asks can see, but for times."""
    return answer.query, answer.mode, answer.hits, answer.next_cursor, answer.coverage


def two(**given: Any) -> tuple[FakeShard, FakeShard]:
    return FakeShard(0, says_version=True, **given), FakeShard(1, says_version=True, **given)


@pytest.fixture
def gateway() -> Gateway:
    shards = two()
    spread(shards, *(chunk(f"vid_{number:026d}", 0, f"{word} and flour") for number, word in enumerate(WORDS * 4)))
    return Gateway(*shards)


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
async def test_what_was_asked_before_is_neither_embedded_nor_searched_again(gateway: Gateway, mode: str) -> None:
    first = await gateway.search.search(query("bread", mode=mode, limit=2))
    searches, embedded = gateway.searches, list(gateway.embedder.asked)
    again = await gateway.search.search(query("bread", mode=mode, limit=2))
    assert (gateway.searches, gateway.embedder.asked) == (searches, embedded)
    assert [shard.checks for shard in gateway.shards] == [1, 1]
    assert shown(again) == shown(first)
    assert first.hits[0].highlights
    assert (first.timing.cached, again.timing.cached) == (False, True)
    assert gateway.told == [again]
    assert gateway.search.counts.shown()["hit_rate"] == 0.5
    # What comes behind an answer from the cache is what comes behind the one that was searched for.
    assert again.next_cursor
    one = await gateway.search.search(query("bread", mode=mode, limit=2, cursor=again.next_cursor))
    assert not {hit.video_id for hit in one.hits} & {hit.video_id for hit in again.hits}


@pytest.mark.parametrize(
    "other",
    [
        query("yeast"),
        query("bread", limit=3),
        query("bread", mode="keyword"),
        query("bread", filters=SearchFilter(language="de")),
        query("bread", seen=["mine"]),
        query("bread", seen=["theirs"]),
        query("bread", seen=[]),
    ],
)
async def test_another_question_or_another_caller_is_another_answer(gateway: Gateway, other: SearchQuery) -> None:
    await gateway.search.search(query("bread"))
    await gateway.search.search(query("bread", seen=["other"]))
    answer = await gateway.search.search(other)
    assert not answer.timing.cached
    assert shown(answer) == shown(await gateway.uncached.search(other))


async def test_gateways_with_other_settings_share_no_answers(gateway: Gateway) -> None:
    other = Gateway(*gateway.shards, store=gateway.store, made_by="another version")
    await gateway.search.search(query("bread"))
    assert not (await other.search.search(query("bread"))).timing.cached
    same = Gateway(*gateway.shards, store=gateway.store)
    for replica in same.directory.all_replicas():
        replica.looked_at(await replica.client.state(timeout=1))
    assert (await same.search.search(query("bread"))).timing.cached


async def test_an_answer_that_lacks_something_is_not_kept(gateway: Gateway) -> None:
    gateway.shards[0].behaviour.error = Unavailable("away")
    partial = await gateway.search.search(query("bread"))
    assert not partial.coverage.complete
    gateway.shards[0].behaviour.error = None
    assert (await gateway.search.search(query("bread"))).coverage.complete
    gateway.embedder.error = Unavailable("away")
    degraded = await gateway.search.search(query("yeast"))
    assert degraded.coverage.legs == ["keyword"]
    gateway.embedder.error = None
    assert (await gateway.search.search(query("yeast"))).coverage.legs == ["semantic", "keyword"]


async def test_shards_that_do_not_say_what_they_hold_are_searched_each_time() -> None:
    shards = FakeShard(0, says_version=True), FakeShard(1)
    spread(shards, chunk(f"vid_{7:026d}", 0, "bread"))
    gateway = Gateway(*shards)
    for _ in range(3):
        assert not (await gateway.search.search(query("bread"))).timing.cached
    assert gateway.searches == 6


async def test_a_shard_that_cannot_be_asked_is_no_reason_to_fail_or_to_believe(gateway: Gateway) -> None:
    await gateway.search.search(query("bread"))
    gateway.shards[1].behaviour.error = Unavailable("away")
    answer = await gateway.search.search(query("bread"))
    assert (answer.coverage.complete, answer.coverage.shards_answered) == (False, 1)
    gateway.shards[1].behaviour.error = None
    assert (await gateway.search.search(query("bread"))).coverage.complete


async def test_another_replica_in_the_place_of_the_one_asked_is_searched(gateway: Gateway) -> None:
    await gateway.search.search(query("bread"))
    gateway.shards[1].replica = 7
    gateway.directory.replicas(1)[0].looked_at(await gateway.directory.replicas(1)[0].client.state(timeout=1))
    assert not (await gateway.search.search(query("bread"))).timing.cached


async def test_a_token_is_waited_for_as_in_any_search(gateway: Gateway) -> None:
    video_id = f"vid_{3:026d}"
    token = IndexToken(slot_of(video_id), 12).encode()
    await gateway.search.search(query("bread"))
    answer = await gateway.search.search(query("bread", min_tokens=[token]))
    assert (answer.coverage.tokens_reached, answer.timing.cached) == (False, True), "what a search would have said"
    owner = gateway.shards[slot_of(video_id) * 2 // 256]

    async def write() -> None:
        await asyncio.sleep(0.05)
        spread(gateway.shards, chunk(video_id, 9, "bread new"))
        await owner.advance(12)

    writing = asyncio.create_task(write())
    answer = await gateway.search.search(query("bread", min_tokens=[token]))
    await writing
    assert answer.coverage.tokens_reached
    assert "bread new" in {hit.text for hit in answer.hits} | {more.text for hit in answer.hits for more in hit.more}
    again = await gateway.search.search(query("bread", min_tokens=[token]))
    assert (again.coverage.tokens_reached, again.timing.cached) == (True, True)


async def test_equal_searches_at_once_are_searched_once(gateway: Gateway) -> None:
    gateway.embedder.let_go = asyncio.Event()
    searching = [asyncio.create_task(gateway.search.search(query("bread"))) for _ in range(10)]
    await asyncio.sleep(0)
    gateway.embedder.let_go.set()
    answers = await asyncio.gather(*searching)
    assert gateway.searches == 2
    assert gateway.embedder.asked == ["bread"]
    assert sum(answer.timing.cached for answer in answers) == 9
    assert len({repr(shown(answer)) for answer in answers}) == 1


async def test_who_waits_for_anothers_search_does_not_get_what_is_older_than_the_question(gateway: Gateway) -> None:
    let_go = gateway.shards[0].behaviour.until = asyncio.Event()
    first = asyncio.create_task(gateway.search.search(query("bread", mode="keyword")))
    await eventually(lambda: gateway.shards[1].searches)
    # Shard 1 has answered the first search. What is written there now, the second must have in.
    gateway.shards[1].chunks.append(chunk(_video_of(gateway.shards[1]), 9, "bread only now"))
    second = asyncio.create_task(gateway.search.search(query("bread", mode="keyword")))
    await asyncio.sleep(0)
    let_go.set()
    await first
    found = (await second).hits
    assert "bread only now" in {hit.text for hit in found} | {more.text for hit in found for more in hit.more}


def _video_of(shard: FakeShard) -> str:
    return shard.chunks[0].video_id


async def test_a_search_that_fails_leaves_nobody_waiting(gateway: Gateway) -> None:
    gateway.embedder.let_go = asyncio.Event()
    gateway.embedder.error = Overloaded("too much")
    searching = [asyncio.create_task(gateway.search.search(query("bread", mode="semantic"))) for _ in range(3)]
    await asyncio.sleep(0)
    gateway.embedder.let_go.set()
    results = await asyncio.gather(*searching, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    gateway.embedder.error = None
    assert (await gateway.search.search(query("bread", mode="semantic"))).hits


async def test_a_search_that_is_called_off_leaves_nobody_waiting(gateway: Gateway) -> None:
    gateway.embedder.let_go = asyncio.Event()
    first = asyncio.create_task(gateway.search.search(query("bread")))
    second = asyncio.create_task(gateway.search.search(query("bread")))
    await asyncio.sleep(0)
    first.cancel()
    gateway.embedder.let_go.set()
    assert (await second).hits
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_vector_of_the_model_before_is_asked_for_anew(gateway: Gateway) -> None:
    await gateway.search.search(query("bread"))
    for shard in gateway.shards:
        shard.model = "new@2"
        shard.chunks[0].title = "changed"
    gateway.embedder.model = "new@2"
    gateway.now = 60.0
    answer = await gateway.search.search(query("bread"))
    assert answer.coverage.embedding_model == "new@2"
    assert (await gateway.search.search(query("bread"))).timing.cached
    gateway.embedder.model = "third@3"
    with pytest.raises(FailedPrecondition):
        await gateway.search.search(query("yeast"))
    assert gateway.embedder.asked.count("yeast") == 1, "a fresh one is not asked for twice"


async def test_a_vector_is_asked_for_once_by_many_and_each_has_its_own_patience() -> None:
    embedder = Embedder()
    embedder.let_go = asyncio.Event()
    cached = CachedEmbedder(embedder, MemoryStore(max_bytes=2**20, max_entries=10))
    patient = [asyncio.create_task(cached.embed_query("bread", timeout=5)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Exception, match="not embedded"):
        await cached.embed_query("bread", timeout=0.01)
    embedder.let_go.set()
    assert len(set(await asyncio.gather(*patient))) == 1
    assert embedder.asked == ["bread"]
    embedder.let_go = None
    assert (await cached.embed_query("bread", timeout=5)).model_revision == MODEL
    assert embedder.asked == ["bread"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("search"), st.integers(0, 1), st.sampled_from(WORDS)),
        st.tuples(st.just("put"), st.integers(0, 5), st.sampled_from(WORDS)),
        st.tuples(st.just("retitle"), st.integers(0, 5), st.sampled_from(["A", "B"])),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just("")),
    ),
    max_size=30,
)


@given(steps=STEPS, shared=st.booleans())
def test_through_two_gateways_no_answer_is_ever_older_than_the_index(
    steps: list[tuple[str, int, str]], shared: bool
) -> None:
    """Whatever is written in between, a cached search gives what a search without a cache gives at that moment."""

    async def run() -> None:
        shards = two()
        store = MemoryStore(max_bytes=2**22, max_entries=1000)
        gateways = [Gateway(*shards, store=store if shared else None) for _ in range(2)]
        for kind, number, said in steps:
            video_id = f"vid_{number:026d}"
            match kind:
                case "search":
                    answer = await gateways[number].search.search(query(said))
                    assert shown(answer) == shown(await gateways[number].uncached.search(query(said)))
                case "put":
                    spread(shards, chunk(video_id, number, said))
                case "retitle":
                    _each(shards, video_id, lambda found, title=said: setattr(found, "title", title))
                case "remove":
                    for shard in shards:
                        shard.chunks = [found for found in shard.chunks if found.video_id != video_id]

    asyncio.run(run())


def _each(shards: tuple[FakeShard, ...], video_id: str, change: Any) -> None:
    for shard in shards:
        for found in shard.chunks:
            if found.video_id == video_id:
                change(found)


async def test_writers_and_searchers_at_once_never_meet_the_past() -> None:
    """What a writer was told is there, whoever asks after that finds, through either gateway."""
    shards = two()
    store = MemoryStore(max_bytes=2**22, max_entries=1000)
    gateways = [Gateway(*shards, store=store), Gateway(*shards, store=store)]
    rng = random.Random(11)
    written: dict[str, int] = dict.fromkeys(WORDS, 0)

    async def write() -> None:
        for number in range(60):
            word = rng.choice(WORDS)
            spread(shards, chunk(f"vid_{rng.randrange(10**6):026d}", number, f"{word} {number}"))
            written[word] += 1
            await asyncio.sleep(0)

    async def ask(gateway: Gateway) -> int:
        cached = 0
        for _ in range(150):
            word = rng.choice(WORDS)
            there = written[word]
            answer = await gateway.search.search(query(word, mode="keyword", limit=100))
            assert len(answer.hits) + sum(len(hit.more) for hit in answer.hits) >= min(there, 100)
            cached += answer.timing.cached
            await asyncio.sleep(0)
        return cached

    _, *cached = await asyncio.gather(write(), *(ask(gateway) for gateway in gateways * 2))
    assert sum(cached) > 50, "and most of it without a search"


async def test_a_check_is_answered_by_the_shard_alone() -> None:
    shard = FakeShard(0, says_version=True)
    spread([shard], chunk(f"vid_{1:026d}", 0, "bread"))
    found = await shard.SearchShard(pb.SearchShardRequest(text="bread", k=5), None)
    same = await shard.SearchShard(pb.SearchShardRequest(text="x", k=1, unless_changed_since=found.version), None)
    assert (same.unchanged, len(same.hits)) == (True, 0)
