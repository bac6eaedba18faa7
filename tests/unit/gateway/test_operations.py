"""What operators are shown: latencies, frequent queries, and the rest when a part cannot be told."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from services.common.errors import Unavailable
from services.common.events.bus import Queue
from services.common.registry import Peer
from services.common.videos.model import Video
from services.gateway.filters import SearchFilter
from services.gateway.operations.latency import MINUTES, RecentLatency
from services.gateway.operations.overview import Operations
from services.gateway.operations.queries import FrequentQueries
from services.gateway.peers import ReplicaState
from services.gateway.search import Coverage, SearchAnswer, SearchMode, SearchQuery, Timing

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def test_latencies_are_told_within_a_twentieth() -> None:
    latency = RecentLatency(clock=lambda: 0.0)
    rng = random.Random(3)
    times = sorted(rng.lognormvariate(-4, 1) for _ in range(5000))
    for seconds in times:
        latency.note(seconds, partial=seconds > times[-11])
    told = latency.look()
    assert (told.count, told.partial) == (5000, 10)
    for share, found in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
        assert found == pytest.approx(times[int(share * 5000) - 1], rel=0.05)


def test_what_was_long_ago_is_forgotten() -> None:
    now = [0.0]
    latency = RecentLatency(clock=lambda: now[0])
    assert latency.look().p50 is None
    latency.note(1.0, partial=True)
    now[0] = 60 * (MINUTES - 1)
    latency.note(1e9, partial=False)
    assert latency.look().count == 2
    now[0] += 60
    assert (latency.look().count, latency.look().partial) == (1, 0)
    now[0] += 3600
    assert (latency.look().count, latency.look().p99) == (0, None)


def test_the_most_frequent_are_among_those_kept_however_many_there_are() -> None:
    queries = FrequentQueries(places=50, now=lambda: NOW)
    rng = random.Random(5)
    asked = [f"often {number}" for number in range(5) for _ in range(400)] + [f"once {n}" for n in range(3000)]
    rng.shuffle(asked)
    for query in asked:
        queries.note(query)
    true = Counter(asked)
    top = queries.top(5)
    assert {one.query for one in top} == {f"often {number}" for number in range(5)}
    for one in top:
        assert one.count - one.too_many <= true[one.query] <= one.count
    assert len(queries.top(1000)) == 50


def test_case_and_length_do_not_make_another_query() -> None:
    queries = FrequentQueries(now=lambda: NOW)
    for query in ("Bread", "bread", "x" * 900):
        queries.note(query)
    assert [(one.query, one.count) for one in queries.top()][:1] == [("bread", 2)]
    assert max(len(one.query) for one in queries.top()) == 200


def answer(hits: int, *, complete: bool = True, seconds: float = 0.01) -> SearchAnswer:
    found: list[Any] = [object()] * hits
    coverage = Coverage(2, 2 if complete else 1, complete, ["semantic"], "m", [], [], tokens_reached=True)
    return SearchAnswer("q", SearchMode.HYBRID, found, "", coverage, Timing(seconds, 0, 0, 0))


def query(text: str, cursor: str = "") -> SearchQuery:
    return SearchQuery.of(text, max_chars=100, seen=None, cursor=cursor)


class _Peers:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def look(self) -> list[ReplicaState]:
        if self.error:
            raise self.error
        return [ReplicaState(Peer(1, 0, "b:1"), None, "gone"), ReplicaState(Peer(0, 0, "a:1"), None, "gone")]


class _Videos:
    async def recent(self, since: dt.datetime) -> list[Video]:
        assert since < NOW
        return []


def operations(*, keep: bool = True, error: Exception | None = None) -> Operations:
    async def queues() -> list[Queue]:
        return [Queue("recognizer", 3, 1, 12.34), Queue("illustrator", 0, 0, None)]

    async def roll(seconds: float) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return [{"service": "embedder", "within": seconds}]

    return Operations(
        peers=_Peers(error),
        queues=queues,
        roll=roll,
        videos=_Videos(),
        caches=lambda: {"answers": {"hits": 1}},
        keep_queries=keep,
        now=lambda: NOW,
    )


async def test_searches_and_what_they_did_not_find_are_counted() -> None:
    watched = operations()
    watched.searched(query("bread"), answer(2, seconds=0.02))
    watched.searched(query("Bread"), answer(1, complete=False))
    watched.searched(query("unicorns"), answer(0))
    watched.searched(query("in what is missing"), answer(0, complete=False))
    watched.searched(replace(query("in what a filter leaves out"), filters=SearchFilter(tags=("none",))), answer(0))
    shown = await watched.overview()
    assert (shown["search"]["count"], shown["search"]["partial"]) == (5, 2)
    most = shown["queries"]["frequent"][0]
    assert (most["query"], most["count"]) == ("Bread", 2)
    assert [one["query"] for one in shown["queries"]["without_results"]] == ["unicorns"]
    assert [one["stage"] for one in shown["queues"]] == ["transcribe", "pictures"]
    assert shown["queues"][0]["oldest_s"] == 12.3
    assert [one["shard"] for one in shown["shards"]] == [0, 1]
    assert shown["shards"][0]["replicas"][0]["state"] == "away"
    assert (shown["cache"], shown["problems"]) == ({"answers": {"hits": 1}}, [])


async def test_queries_are_not_kept_where_that_is_not_wanted() -> None:
    watched = operations(keep=False)
    watched.searched(query("what nobody should know"), answer(0))
    shown = await watched.overview()
    assert shown["queries"] == {"kept": False, "frequent": [], "without_results": []}
    assert shown["search"]["count"] == 1


async def test_a_part_that_cannot_be_told_is_named_and_hides_no_other() -> None:
    shown = await operations(error=Unavailable("the database is away")).overview()
    assert shown["shards"] is None
    assert shown["problems"] == [{"part": "shards", "message": "the database is away"}]
    assert shown["queues"][0]["pending"] == 3
    with pytest.raises(ZeroDivisionError):
        await operations(error=ZeroDivisionError()).overview()
