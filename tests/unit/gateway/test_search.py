"""One search, with peers that are in the same process."""

from __future__ import annotations

import pytest

from services.common.errors import DeadlineExceeded, EarmarkError, InvalidArgument, Overloaded, Unavailable
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout
from services.gateway.filters import SearchFilter
from services.gateway.search import QueryVector, Searcher, SearchQuery
from tests.support.gateway_peers import MODEL, Direct, FakeShard, chunk, hash_vector, routes_of, spread, video_of_slot

FIRST, SECOND = range(128), range(128, 256)
"""The slots of shard 0 and shard 1, where there are two."""
A, B, C = video_of_slot(FIRST), video_of_slot(SECOND), video_of_slot(SECOND, 1)


class Embedder:
    def __init__(self, error: EarmarkError | None = None) -> None:
        self.error = error
        self.calls = 0

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return QueryVector(hash_vector(text).tobytes(), MODEL)


def searcher(*shards: FakeShard, embedder: Embedder | None = None, depth: int = 50, more: int = 2) -> Searcher:
    directory = StaticDirectory([[Direct(shard)] for shard in shards])
    return Searcher(
        embedder=embedder or Embedder(),
        fanout=Fanout(directory=directory, routes=routes_of(len(shards))),
        deadline_seconds=5,
        semantic_floor=0.2,
        semantic_floor_alone=0.5,
        depth=depth,
        more_per_video=more,
        concurrency=2,
    )


def query(text: str, **given: object) -> SearchQuery:
    return SearchQuery.of(text, max_chars=1000, **{"seen": None, **given})  # type: ignore[arg-type]


def bakery() -> list[FakeShard]:
    text = "Welcome back. The yeast eats the sugar. That makes bread rise."
    marks = [(0, 60.0), (14, 62.5), (40, 66.25)]
    return [
        FakeShard(
            0,
            [
                chunk(A, 0, text, 60, 90, marks, title="Bread"),
                chunk(A, 1, "and at the end of it all we look at the bread again", 90, 100),
            ],
        ),
        FakeShard(1, [chunk(B, 0, "stars and planets"), chunk(C, 0, "bread and butter", language="de")]),
    ]


async def test_the_moment_is_found_and_explained() -> None:
    answer = await searcher(*bakery()).search(query("why does bread rise"))
    best = answer.hits[0]
    assert (best.video_id, best.title, best.start_time, best.end_time) == (A, "Bread", 60.0, 90.0)
    assert best.match_time == 66.25
    assert best.sentence is not None
    assert best.text[slice(*best.sentence)] == "That makes bread rise."
    assert [best.text[start:end] for start, end in best.highlights] == ["bread", "rise"]
    assert best.semantic is not None
    assert best.keyword is not None
    assert [hit.chunk_id for hit in best.more] == [f"{A}/00000/0001"]
    assert [hit.video_id for hit in answer.hits] == [A, C]
    assert answer.coverage.legs == ["semantic", "keyword"]
    assert (answer.coverage.shards_total, answer.coverage.shards_answered, answer.coverage.complete) == (2, 2, True)
    assert answer.coverage.embedding_model == MODEL
    assert answer.timing.total >= answer.timing.embed + answer.timing.shards + answer.timing.fuse - 1e-6


async def test_without_a_matching_word_play_starts_with_the_chunk() -> None:
    shard = FakeShard(0, [chunk(A, 0, "über", 12, 30, [(0, 12.0)])])
    answer = await searcher(shard).search(query("über", mode="semantic"))
    assert answer.hits[0].match_time == 12.0


async def test_gibberish_finds_nothing() -> None:
    answer = await searcher(*bakery()).search(query("xqzvw flrbt"))
    assert (answer.hits, answer.next_cursor, answer.coverage.complete) == ([], "", True)


async def test_what_is_near_only_counts_while_some_word_is_known() -> None:
    near = chunk(A, 0, "alpha beta gamma delta epsilon zeta eta theta")  # cosine 0.35 to one of its words
    unrelated = chunk(B, 0, "omega")
    for words, found in [("alpha omega", [A, B]), ("alpha", [A])]:
        answer = await searcher(FakeShard(0, [near, unrelated])).search(query(words))
        assert {hit.video_id for hit in answer.hits} == set(found)
    silent = chunk(A, 0, "")
    silent.vector = near.vector  # near by meaning, without the word
    hybrid = await searcher(FakeShard(0, [silent])).search(query("alpha"))
    by_meaning = await searcher(FakeShard(0, [silent])).search(query("alpha", mode="semantic"))
    assert ([hit.video_id for hit in hybrid.hits], [hit.video_id for hit in by_meaning.hits]) == ([], [A])


@pytest.mark.parametrize(("mode", "legs"), [("semantic", ["semantic"]), ("keyword", ["keyword"])])
async def test_one_leg_alone_is_a_complete_answer(mode: str, legs: list[str]) -> None:
    embedder = Embedder()
    answer = await searcher(*bakery(), embedder=embedder).search(query("bread", mode=mode))
    assert answer.coverage.legs == legs
    assert answer.coverage.complete
    assert embedder.calls == (mode == "semantic")
    assert answer.hits


async def test_filters_reach_the_shards() -> None:
    shards = bakery()
    answer = await searcher(*shards).search(query("bread", filters=SearchFilter.of(video_ids=[C, A, C], language="DE")))
    assert [hit.video_id for hit in answer.hits] == [C]
    assert shards[0].last_request is not None
    assert list(shards[0].last_request.filter.video_ids) == [A, C]


async def test_without_the_embedder_words_still_find() -> None:
    answer = await searcher(*bakery(), embedder=Embedder(Unavailable("down"))).search(query("bread"))
    assert answer.hits
    assert (answer.coverage.legs, answer.coverage.complete, answer.coverage.embedding_model) == (["keyword"], False, "")


async def test_meaning_alone_needs_the_embedder() -> None:
    with pytest.raises(Unavailable, match="mode=keyword"):
        await searcher(*bakery(), embedder=Embedder(Unavailable("down"))).search(query("bread", mode="semantic"))


async def test_a_missing_shard_is_told() -> None:
    shards = bakery()
    shards[1].behaviour.error = DeadlineExceeded("slow")
    answer = await searcher(*shards).search(query("bread"))
    assert answer.coverage.shards_answered == 1
    assert not answer.coverage.complete
    assert [(missing.shard, missing.reason) for missing in answer.coverage.missing] == [(1, "DEADLINE_EXCEEDED")]


async def test_no_shard_at_all_is_an_error() -> None:
    shards = bakery()
    for shard in shards:
        shard.behaviour.error = Unavailable("loading")
    with pytest.raises(Unavailable) as raised:
        await searcher(*shards).search(query("bread"))
    assert raised.value.reason == "NO_SHARD_ANSWERED"


async def test_pages_show_every_video_once_even_while_more_come() -> None:
    videos = [f"vid_{number:026d}" for number in range(25)]
    shards = [FakeShard(0), FakeShard(1)]
    spread(shards, *(chunk(video_id, 0, "bread " * (number + 1)) for number, video_id in enumerate(videos)))
    search = searcher(*shards, depth=4)
    shown: list[str] = []
    cursor = ""
    for page in range(10):
        answer = await search.search(query("bread", limit=6, cursor=cursor))
        shown += [hit.video_id for hit in answer.hits]
        cursor = answer.next_cursor
        if page == 0:
            spread(shards, chunk(f"vid_{'z' * 26}", 0, "bread"))
        if not cursor:
            break
    assert len(shown) == len(set(shown))
    assert set(videos) <= set(shown)


async def test_too_many_searches_are_refused_before_they_wait() -> None:
    shard = FakeShard(0, [])
    search = searcher(shard)
    search._running = 2
    with pytest.raises(Overloaded):
        await search.search(query("bread"))
    assert shard.behaviour.calls == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"text": ""}, "q"),
        ({"text": " \t\n\x00 "}, "q"),
        ({"text": "x" * 1001}, "q"),
        ({"text": "x", "mode": "fuzzy"}, "mode"),
        ({"text": "x", "min_tokens": ["ix1-3f-1"] * 101}, "min_token"),
        ({"text": "x", "min_tokens": ["ix1-3f-"]}, "min_token"),
        ({"text": "x", "min_tokens": ["ix2-3f-1"]}, "min_token"),
        ({"text": "x", "cursor": "rubbish"}, "cursor"),
    ],
)
def test_what_is_wrong_is_refused_with_its_field(given: dict[str, object], field: str) -> None:
    text = str(given.pop("text"))
    with pytest.raises(InvalidArgument) as refused:
        query(text, **given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "text", ["🙂", "the of and", '"unbalanced', "'", "a\u0000b", "x" * 1000, "\u202eabc", "AND OR NOT (", "*:*"]
)
async def test_odd_queries_are_answered(text: str) -> None:
    assert (await searcher(*bakery()).search(query(text))).coverage.complete


@pytest.mark.parametrize(("limit", "expected"), [(0, 10), (-3, 10), (1, 1), (100, 100), (10**9, 100)])
def test_limits_are_brought_into_range(limit: int, expected: int) -> None:
    assert query("x", limit=limit).limit == expected


def test_equal_searches_share_cursors_whatever_their_spelling() -> None:
    assert query("  cafe\u0301  au\nlait ").bound == query("café au lait").bound
    two, same = SearchFilter.of(video_ids=[A, B]), SearchFilter.of(video_ids=[B, A, A])
    assert query("x", filters=two).bound == query("x", filters=same).bound != query("x").bound
    assert query("x", mode="keyword").bound != query("x").bound


async def test_fusing_is_quick() -> None:
    """A guard against something quadratic, not a benchmark: 2 shards with 100 hits each."""
    text = "The yeast eats the sugar and that is what makes the bread rise slowly over night in the bowl. " * 5
    shards = [FakeShard(0), FakeShard(1)]
    spread(shards, *(chunk(f"vid_{number:026d}", 0, text) for number in range(200)))
    search = searcher(*shards)
    best = min([(await search.search(query("what makes bread rise"))).timing.fuse for _ in range(5)])
    assert best < 0.05
