"""One search over many shards: exact whatever their number, by one slot table, fresh enough, of one model."""

from __future__ import annotations

import random

import pytest

from services.common.errors import FailedPrecondition, Unavailable
from services.common.ids import SLOTS, slot_of
from services.common.index_token import IndexToken
from services.common.slots import Move, MovePhase, SlotTable
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout
from services.gateway.routing import Routes
from services.gateway.search import QueryVector, Searcher, SearchQuery
from tests.support.gateway_peers import MODEL, Direct, FakeShard, chunk, even_table, hash_vector, spread, video_of_slot

WORDS = [
    "bread",
    "yeast",
    "sugar",
    "dough",
    "flour",
    "oven",
    "water",
    "salt",
    "rise",
    "knead",
    "stone",
    "bowl",
    "crust",
    "night",
]


class Embedder:
    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        return QueryVector(hash_vector(text).tobytes(), MODEL)


class Mesh:
    """Shards with one replica each, and a slot table that can change."""

    def __init__(self, *shards: FakeShard, depth: int = 50) -> None:
        self.shards = shards
        self.table: SlotTable | None = even_table(len(shards))
        self.routes = Routes(self.load)
        self.directory = StaticDirectory([[Direct(shard)] for shard in shards])
        self.searcher = Searcher(
            embedder=Embedder(),
            fanout=Fanout(directory=self.directory, routes=self.routes),
            deadline_seconds=5,
            semantic_floor=0.2,
            semantic_floor_alone=0.5,
            depth=depth,
            more_per_video=2,
            concurrency=2,
        )

    async def load(self) -> SlotTable | None:
        return self.table

    async def started(self) -> Mesh:
        await self.routes.refresh()
        return self


def query(text: str, **given: object) -> SearchQuery:
    return SearchQuery.of(text, max_chars=1000, **{"seen": None, **given})  # type: ignore[arg-type]


def corpus(videos: int, seed: int = 1) -> list[tuple[str, int, str]]:
    rng = random.Random(seed)
    return [
        (f"vid_{number:026d}", part, " ".join(rng.choices(WORDS, k=rng.randint(3, 9))) + f" n{number}x{part}")
        for number in range(videos)
        for part in range(rng.randint(1, 4))
    ]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
async def test_the_answer_is_the_same_whatever_the_number_of_shards_and_how_they_give_hits(mode: str) -> None:
    found = []
    for count in (1, 2, 5, 16):
        shards = [FakeShard(number, knows_columns=number % 2 == 1) for number in range(count)]
        spread(shards, *(chunk(*each) for each in corpus(150)))
        mesh = await Mesh(*shards, depth=40).started()
        answer = await mesh.searcher.search(query("why does bread rise with crust", limit=10, mode=mode))
        assert answer.coverage.complete
        found.append([(hit.chunk_id, hit.score, hit.semantic, hit.keyword) for hit in answer.hits])
    assert found[0]
    assert all(others == found[0] for others in found[1:])


async def test_a_shard_that_holds_most_of_the_best_is_asked_again_deeper() -> None:
    shards = [FakeShard(number) for number in range(16)]
    best = [video_of_slot(range(16), number) for number in range(60)]  # all in shard 0
    spread(shards, *(chunk(video, 0, "bread rises") for video in best))
    spread(shards, *(chunk(f"vid_{n:026d}", 0, "bread with much else that matters less") for n in range(300)))
    mesh = await Mesh(*shards, depth=50).started()
    answer = await mesh.searcher.search(query("bread rises", limit=12))
    assert {hit.video_id for hit in answer.hits} <= set(best)
    asked = [shard.behaviour.calls for shard in shards]
    assert (asked[0], set(asked[1:])) == (2, {1})
    assert shards[0].last_request is not None
    assert shards[0].last_request.k == 50


async def test_every_page_together_is_everything() -> None:
    shards = [FakeShard(number) for number in range(3)]
    chunks = corpus(400)
    spread(shards, *(chunk(*each) for each in chunks))
    mesh = await Mesh(*shards, depth=20).started()
    wanted = {video for video, _, text in chunks if "bread" in text.split()}
    shown: list[str] = []
    cursor = ""
    while True:
        answer = await mesh.searcher.search(query("bread", mode="keyword", limit=7, cursor=cursor))
        shown += [hit.video_id for hit in answer.hits]
        cursor = answer.next_cursor
        if not cursor:
            break
        assert answer.hits, "no page but the last is empty"
    assert len(shown) == len(set(shown))
    assert set(shown) == wanted


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


async def test_without_a_slot_table_a_search_says_so() -> None:
    mesh = Mesh(FakeShard(0))
    with pytest.raises(Unavailable) as refused:
        await mesh.searcher.search(query("bread"))
    assert refused.value.reason == "NO_SHARDS"


async def test_a_slot_that_moves_is_answered_by_exactly_one_shard() -> None:
    """At every step of a move, whichever table the gateway has: the video is found once."""
    source, target = FakeShard(0), FakeShard(1)
    mesh = Mesh(source, target)
    moving = video_of_slot(range(128))
    slot = slot_of(moving)
    others = [video_of_slot(range(128), 1), video_of_slot(range(128, 256))]
    spread([source, target], *(chunk(video, 0, "bread") for video in [moving, *others]))
    source.slots, target.slots = frozenset(range(128)), frozenset(range(128, 256))
    start = even_table(2)
    moved = bytes(1 if number == slot else owner for number, owner in enumerate(start.owners))
    move = Move(slot, 0, 1, MovePhase.COPYING)

    async def look() -> None:
        answer = await mesh.searcher.search(query("bread"))
        assert sorted(hit.video_id for hit in answer.hits) == sorted([moving, *others])
        assert all(not hit.more for hit in answer.hits), "a chunk came twice"
        assert answer.coverage.complete
        assert answer.coverage.shards_total == 2

    await mesh.started()
    await look()
    mesh.table = SlotTable(2, 2, start.owners, (move,))
    target.slots |= {slot}
    target.chunks.append(chunk(moving, 0, "bread"))  # both hold it
    await look()
    mesh.table = SlotTable(3, 2, moved, (Move(slot, 0, 1, MovePhase.DRAINING),))
    await look()  # by the table of before
    source.slots -= {slot}
    source.chunks = [each for each in source.chunks if each.video_id != moving]
    await look()  # the source refuses, and the new table is read
    assert mesh.routes.current is not None
    assert mesh.routes.current.version == 3
    mesh.table = SlotTable(4, 2, moved)
    await mesh.routes.refresh()
    await look()


async def test_slots_that_nobody_holds_make_the_answer_incomplete() -> None:
    holder, empty = FakeShard(0), FakeShard(1, slots=frozenset())
    mesh = await Mesh(holder, empty).started()
    spread([holder, empty], chunk(video_of_slot(range(128)), 0, "bread"))
    answer = await mesh.searcher.search(query("bread"))
    assert len(answer.hits) == 1
    assert [(missing.shard, missing.reason) for missing in answer.coverage.missing] == [(1, "FAILED_PRECONDITION")]
    assert not answer.coverage.complete


async def test_a_table_that_always_changes_ends_after_two_repeats() -> None:
    shard = FakeShard(0, slots=frozenset())
    mesh = Mesh(shard)
    versions = iter(range(2, 100))

    async def load() -> SlotTable:
        return even_table(1, next(versions))

    mesh.routes = Routes(load)
    await mesh.routes.refresh()
    fanout = Fanout(directory=mesh.directory, routes=mesh.routes)
    mesh.searcher = Searcher(
        embedder=Embedder(),
        fanout=fanout,
        deadline_seconds=5,
        semantic_floor=0.2,
        semantic_floor_alone=0.5,
        depth=50,
        more_per_video=2,
        concurrency=2,
    )
    with pytest.raises(Unavailable) as refused:
        await mesh.searcher.search(query("bread"))
    assert refused.value.reason == "NO_SHARD_ANSWERED"
    assert shard.behaviour.calls == 3


async def test_shards_without_slots_are_not_asked() -> None:
    shards = [FakeShard(0), FakeShard(1), FakeShard(2)]
    mesh = Mesh(*shards)
    mesh.table = SlotTable(1, 3, bytes(slot % 2 for slot in range(SLOTS)))
    await mesh.started()
    answer = await mesh.searcher.search(query("bread"))
    assert (answer.coverage.shards_total, shards[2].behaviour.calls) == (2, 0)


# ── freshness ────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_is_waited_for_by_the_shard_that_owns_its_slot() -> None:
    first, second = FakeShard(0, applied_sequence=10), FakeShard(1, applied_sequence=10)
    mesh = await Mesh(first, second).started()
    tokens = [IndexToken(200, 9).encode(), IndexToken(201, 7).encode()]
    answer = await mesh.searcher.search(query("bread", min_tokens=tokens))
    assert answer.coverage.tokens_reached
    assert first.last_request is not None
    assert second.last_request is not None
    assert (first.last_request.min_sequence, second.last_request.min_sequence) == (0, 9)
    late = [*tokens, IndexToken(3, 11).encode()]
    answer = await mesh.searcher.search(query("bread", min_tokens=late))
    assert not answer.coverage.tokens_reached
    assert answer.coverage.complete, "it is not that far, which is another matter than a shard that is away"
    await first.advance(11)
    assert (await mesh.searcher.search(query("bread", min_tokens=late))).coverage.tokens_reached


async def test_a_token_of_a_shard_that_is_away_is_not_reached() -> None:
    shards = FakeShard(0), FakeShard(1, applied_sequence=99)
    mesh = await Mesh(*shards).started()
    shards[1].behaviour.error = Unavailable("loading")
    answer = await mesh.searcher.search(query("bread", min_tokens=[IndexToken(200, 5).encode()]))
    assert not answer.coverage.tokens_reached


async def test_the_next_page_comes_from_nobody_further_back() -> None:
    shards = [FakeShard(0, applied_sequence=41), FakeShard(1, applied_sequence=57)]
    spread(shards, *(chunk(f"vid_{number:026d}", 0, "bread") for number in range(20)))
    mesh = await Mesh(*shards).started()
    answer = await mesh.searcher.search(query("bread", limit=5))
    assert [tuple(replica)[:4] for replica in answer.coverage.replicas] == [(0, 0, 41, 0), (1, 0, 57, 0)]
    await mesh.searcher.search(query("bread", limit=5, cursor=answer.next_cursor))
    assert [shard.last_request.min_sequence for shard in shards if shard.last_request] == [41, 57]
    # The page before was of one that is gone: what is there is shown, and nobody waits for a token.
    shards[0].applied_sequence = 1
    again = await mesh.searcher.search(query("bread", limit=5, cursor=answer.next_cursor))
    assert again.hits
    assert again.coverage.tokens_reached


# ── models ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_index_of_another_model_is_a_clear_error() -> None:
    shards = [FakeShard(0, model="old@1"), FakeShard(1, model="old@1")]
    spread(shards, *(chunk(f"vid_{number:026d}", 0, "bread") for number in range(4)))
    mesh = await Mesh(*shards).started()
    with pytest.raises(FailedPrecondition) as refused:
        await mesh.searcher.search(query("bread"))
    error = refused.value
    assert (error.reason, error.code, error.http_status) == ("MODEL_MISMATCH", "FAILED_PRECONDITION", 409)
    assert error.metadata == {"query_model": MODEL, "index_model": "old@1", "shards": "0, 1"}
    assert MODEL in error.message
    assert "old@1" in error.message
    assert "mode=keyword" in error.message
    assert (await mesh.searcher.search(query("bread", mode="keyword"))).hits


async def test_one_shard_of_another_model_is_never_fused_with_the_rest() -> None:
    shards = [FakeShard(0), FakeShard(1, model="old@1")]
    spread(shards, *(chunk(f"vid_{number:026d}", 0, "bread") for number in range(4)))
    mesh = await Mesh(*shards).started()
    with pytest.raises(FailedPrecondition, match=r"shard 1 holds vectors of old@1"):
        await mesh.searcher.search(query("bread"))


async def test_an_empty_shard_has_no_model_and_is_fine() -> None:
    shards = [FakeShard(0), FakeShard(1, model="")]
    spread(shards, chunk(video_of_slot(range(128)), 0, "bread"))
    mesh = await Mesh(*shards).started()
    answer = await mesh.searcher.search(query("bread"))
    assert (len(answer.hits), answer.coverage.complete) == (1, True)
