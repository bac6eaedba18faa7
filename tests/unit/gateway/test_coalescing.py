"""Searches that would have to wait for a replica go together; nothing that one does touches the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError, FailedPrecondition, InvalidArgument, Overloaded, Unavailable
from services.gateway import coalescing
from services.gateway.coalescing import Coalescer
from tests.support.waiting import eventually


class Replica:
    """A replica each of whose calls lasts until `open` is set; what is asked for `wrong` is refused, with its call."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls: list[list[str]] = []
        self.timeouts: list[float] = []
        self.cancelled: list[list[str]] = []
        self.error: EarmarkError = InvalidArgument("wrong")
        self.down = False

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        return (await self._call([request], timeout))[0]

    async def search_many(
        self, requests: Sequence[pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[pb.SearchShardResponse]:
        return await self._call(requests, timeout)

    async def _call(self, requests: Sequence[pb.SearchShardRequest], timeout: float) -> list[pb.SearchShardResponse]:
        texts = [request.text for request in requests]
        self.calls.append(texts)
        self.timeouts.append(timeout)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(texts)
            raise
        if self.down:
            raise Unavailable("down")
        if "wrong" in texts:
            raise self.error
        return [pb.SearchShardResponse(version=text) for text in texts]


@pytest.fixture
def replica() -> Replica:
    return Replica()


@pytest.fixture
def searches(replica: Replica) -> Coalescer:
    searches = Coalescer(replica)
    searches.at_once = 1
    return searches


def ask(searches: Coalescer, text: str, timeout: float = 60.0, **fields: object) -> asyncio.Task[str]:
    """Begins a search."""

    async def asking() -> str:
        request = pb.SearchShardRequest(**{"text": text, "k": 10} | fields)  # type: ignore[arg-type]
        return (await searches.search(request, timeout=timeout)).version

    return asyncio.create_task(asking())


async def begun(*_: asyncio.Task[str]) -> None:
    """Lets tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_searches_go_at_once_while_the_replica_is_free(replica: Replica, searches: Coalescer) -> None:
    searches.at_once = 3
    tasks = [ask(searches, text) for text in "abc"]
    await begun()
    assert replica.calls == [["a"], ["b"], ["c"]]
    replica.open.set()
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_what_comes_while_it_is_busy_goes_together_and_each_gets_its_own(
    replica: Replica, searches: Coalescer
) -> None:
    tasks = [ask(searches, text) for text in "abcd"]
    await begun()
    assert replica.calls == [["a"]]
    replica.open.set()
    assert await asyncio.gather(*tasks) == ["a", "b", "c", "d"]
    assert replica.calls == [["a"], ["b", "c", "d"]]
    assert await ask(searches, "e") == "e"
    assert replica.calls[2:] == [["e"]]


async def test_a_call_has_so_many_searches_at_most(replica: Replica, searches: Coalescer) -> None:
    tasks = [ask(searches, str(number)) for number in range(coalescing.MOST_TOGETHER + 3)]
    await begun()
    replica.open.set()
    assert await asyncio.gather(*tasks) == [str(number) for number in range(coalescing.MOST_TOGETHER + 3)]
    assert [len(call) for call in replica.calls] == [1, coalescing.MOST_TOGETHER, 2]


async def test_one_that_is_wrong_fails_alone(replica: Replica, searches: Coalescer) -> None:
    replica.error = FailedPrecondition("not held", reason="SLOTS_NOT_HELD")
    tasks = [ask(searches, text) for text in ("a", "b", "wrong", "c")]
    await begun()
    replica.open.set()
    *sound, wrong = await asyncio.gather(*tasks[:2], tasks[3], tasks[2], return_exceptions=True)
    assert sound == ["a", "b", "c"]
    assert wrong is replica.error
    assert replica.calls == [["a"], ["b", "wrong", "c"], ["b"], ["wrong"], ["c"]]


async def test_a_replica_that_fails_fails_all_and_is_not_asked_again(replica: Replica, searches: Coalescer) -> None:
    replica.down = True
    tasks = [ask(searches, text) for text in "abc"]
    await begun()
    replica.open.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error.code for error in failed if isinstance(error, EarmarkError)] == ["UNAVAILABLE"] * 3
    assert replica.calls == [["a"], ["b", "c"]]


async def test_who_goes_away_while_waiting_is_not_asked_for(replica: Replica, searches: Coalescer) -> None:
    tasks = [ask(searches, text) for text in "abc"]
    await begun()
    tasks[1].cancel()
    await begun()
    replica.open.set()
    assert await tasks[2] == "c"
    assert replica.calls == [["a"], ["c"]]


async def test_who_goes_away_leaves_the_others_of_the_call(replica: Replica, searches: Coalescer) -> None:
    first, *rest = [ask(searches, text) for text in "abc"]
    await begun()
    first.cancel()
    await begun()
    assert replica.calls == [["a"], ["b", "c"]]
    rest[0].cancel()
    await begun()
    replica.open.set()
    assert await rest[1] == "c"
    assert replica.cancelled == [["a"]]


async def test_a_call_that_nobody_waits_for_any_more_is_given_up(replica: Replica, searches: Coalescer) -> None:
    first, *rest = [ask(searches, text) for text in "abc"]
    await begun()
    first.cancel()
    await begun()
    for task in rest:
        task.cancel()
    await begun()
    assert replica.cancelled == [["a"], ["b", "c"]]
    replica.open.set()
    assert await ask(searches, "d") == "d"


async def test_each_has_its_own_deadline_and_the_call_the_latest(replica: Replica, searches: Coalescer) -> None:
    tasks = [ask(searches, "a"), ask(searches, "b", 0.05), ask(searches, "c", 60)]
    with pytest.raises(EarmarkError) as late:
        await tasks[1]  # waits behind the first
    assert late.value.code == "DEADLINE_EXCEEDED"
    short = ask(searches, "d", 0.3)
    await begun()
    tasks[0].cancel()
    with pytest.raises(EarmarkError) as late:
        await short  # under way
    assert late.value.code == "DEADLINE_EXCEEDED"
    assert replica.calls == [["a"], ["c", "d"]]
    assert 30 < replica.timeouts[1] <= 60
    replica.open.set()
    assert await tasks[2] == "c"


@pytest.mark.parametrize(
    "fields",
    [
        {"min_sequence": 7},
        {"unless_changed_since": "1f-2"},
        {"k": 1000},
        {"filter": pb.ChunkFilter(video_ids=[f"vid_{n:026d}" for n in range(1000)])},
    ],
    ids=["waits for an event", "asks for changes", "deep", "large"],
)
async def test_what_would_hold_others_up_goes_by_itself(
    replica: Replica, searches: Coalescer, fields: dict[str, object]
) -> None:
    tasks = [ask(searches, "a"), ask(searches, "b", **{"k": 10} | fields), ask(searches, "c")]
    await begun()
    assert replica.calls == [["a"], ["b"]]
    replica.open.set()
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_no_more_wait_than_there_is_room_for(replica: Replica) -> None:
    searches = Coalescer(replica, room=2)
    searches.at_once = 1
    tasks = [ask(searches, text) for text in "abc"]
    await begun()
    with pytest.raises(Overloaded):
        await ask(searches, "d")
    replica.open.set()
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_closed_it_leaves_nobody_waiting(replica: Replica, searches: Coalescer) -> None:
    first, *shared = [ask(searches, text) for text in "abc"]
    await begun()
    first.cancel()
    await eventually(lambda: len(replica.calls) == 2)
    waiting = ask(searches, "d")
    await begun()
    await searches.close()
    failed = await asyncio.gather(*shared, waiting, return_exceptions=True)
    assert [error.code for error in failed if isinstance(error, EarmarkError)] == ["UNAVAILABLE"] * 3
