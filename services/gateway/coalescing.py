"""Searches that would have to wait for a replica go to it in one call.

A call costs a server in Python 0.5 ms of processor and its client 0.4 before anything is searched. While a replica has
fewer calls under way than it searches at once, each search is a call of its own and goes at once. What comes beyond
that would wait there, and waits here instead: when a call returns, all that wait go together. Nothing waits for a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Counter

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import DeadlineExceeded, EarmarkError, Overloaded, Unavailable

AT_ONCE = 8
"""Calls under way to a replica that does not say how many searches it runs at once."""
MOST_TOGETHER = 32
"""Searches in a call. ShardService takes 256, but who is in a call waits for all of it."""
MOST_WAITING = 512
_LARGEST_K = 100
_LARGEST_BYTES = 16_384
_OF_ALL = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
"""What a call fails with because of the replica; anything else may be due to one of the searches in it."""

TOGETHER = Counter("earmark_gateway_shard_searches_together_total", "Searches that shared a call to a replica.")
CALLS = Counter("earmark_gateway_shard_shared_calls_total", "Calls to replicas with several searches in them.")


class Calls(Protocol):
    """Calls to a replica."""

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        """Runs one search in a call. Raises EarmarkError."""
        ...

    async def search_many(
        self, requests: Sequence[pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[pb.SearchShardResponse]:
        """Runs several in one call; one that is wrong fails all. Raises EarmarkError."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    request: pb.SearchShardRequest
    deadline: float
    answer: asyncio.Future[pb.SearchShardResponse]
    call: _Call | None = None


@dataclass(slots=True, eq=False)
class _Call:
    searches: list[_Waiting]
    task: asyncio.Task[None] = field(init=False)

    @property
    def awaited(self) -> bool:
        """Whether anybody still wants an answer of it."""
        return any(not one.answer.done() for one in self.searches)


class Coalescer:
    """The searches of one replica.

    Args:
        calls: How it is called.
        room: Searches that may wait; one more is refused.

    Attributes:
        at_once: Calls under way from which on searches wait for each other.
    """

    def __init__(self, calls: Calls, *, room: int = MOST_WAITING) -> None:
        self.at_once = AT_ONCE
        self._calls = calls
        self._room = room
        self._under_way = 0
        self._waiting: deque[_Waiting] = deque()
        self._shared: set[_Call] = set()

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        """Searches, in at most `timeout` seconds.

        Raises:
            Overloaded: Too many searches wait.
            EarmarkError: As the call.
        """
        if not _fits(request):
            return await self._calls.search(request, timeout=timeout)
        if self._under_way >= self.at_once:
            return await self._wait(request, timeout)
        self._under_way += 1
        try:
            return await self._calls.search(request, timeout=timeout)
        finally:
            self._under_way -= 1
            self._next()

    async def close(self) -> None:
        """Gives up the calls under way, and what waits."""
        waiting, self._waiting = list(self._waiting), deque()
        _fail(waiting, Unavailable("the connection to the replica is closed"))
        tasks = [call.task for call in self._shared]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, request: pb.SearchShardRequest, timeout: float) -> pb.SearchShardResponse:
        if len(self._waiting) >= self._room:
            raise Overloaded(f"{len(self._waiting)} searches wait for a replica", retry_after_seconds=0.2)
        one = _Waiting(request, time.monotonic() + timeout, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        try:
            async with asyncio.timeout(timeout):
                return await one.answer
        except TimeoutError:
            raise DeadlineExceeded("the index shard did not answer in time; try again shortly") from None
        finally:
            if one.answer.cancelled():
                self._given_up(one)
            else:
                one.answer.exception()  # seen, in case whoever asked went away in the same moment

    def _given_up(self, one: _Waiting) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
        elif one.call is not None and not one.call.awaited:
            one.call.task.cancel()

    def _next(self) -> None:
        """Sends what waits, as far as calls may be under way."""
        while self._waiting and self._under_way < self.at_once:
            count = min(len(self._waiting), MOST_TOGETHER)
            call = _Call([self._waiting.popleft() for _ in range(count)])
            for one in call.searches:
                one.call = call
            self._under_way += 1
            self._shared.add(call)
            call.task = asyncio.create_task(self._send(call))
            call.task.add_done_callback(lambda _, call=call: self._sent(call))  # type: ignore[misc]

    def _sent(self, call: _Call) -> None:
        self._shared.discard(call)
        self._under_way -= 1
        error = None if call.task.cancelled() else call.task.exception()
        _fail(call.searches, error or Unavailable("the connection to the replica is closed"))
        self._next()

    async def _send(self, call: _Call) -> None:
        searches = [one for one in call.searches if not one.answer.done()]
        if len(searches) > 1:
            try:
                await self._together(searches)
                return
            except EarmarkError as error:
                if error.code in _OF_ALL:
                    _fail(searches, error)
                    return
        # One that is wrong fails a call that others are in: by themselves only that one does.
        await asyncio.gather(*(self._alone(one) for one in searches))

    async def _together(self, searches: Sequence[_Waiting]) -> None:
        CALLS.inc()
        TOGETHER.inc(len(searches))
        left = max(one.deadline for one in searches) - time.monotonic()
        responses = await self._calls.search_many([one.request for one in searches], timeout=max(left, 0.001))
        for one, response in zip(searches, responses, strict=True):
            if not one.answer.done():
                one.answer.set_result(response)

    async def _alone(self, one: _Waiting) -> None:
        if one.answer.done():
            return
        try:
            response = await self._calls.search(one.request, timeout=max(one.deadline - time.monotonic(), 0.001))
        except EarmarkError as error:
            _fail([one], error)
        else:
            if not one.answer.done():
                one.answer.set_result(response)


def _fits(request: pb.SearchShardRequest) -> bool:
    """Whether a search may be in a call with others: it holds them up no more than any, and the call can carry it."""
    return (
        not request.min_sequence
        and not request.unless_changed_since  # SearchShardBatch knows only searches
        and request.k <= _LARGEST_K
        and request.ByteSize() <= _LARGEST_BYTES
    )


def _fail(searches: Sequence[_Waiting], error: BaseException) -> None:
    for one in searches:
        if not one.answer.done():
            one.answer.set_exception(error)
