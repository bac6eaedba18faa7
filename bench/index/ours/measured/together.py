"""Searches as the gateway makes them, many in flight: call by call, and with what would have to wait going together.

The gateway's own search over some shards, but for the embedding: the vector is there, as it is for words that were
searched for before.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from bench.index import data
from bench.index.corpus import Vectors
from bench.index.ours import folder as index
from bench.index.ours.measured.remote import Remote, remote
from bench.index.ours.measured.shards import write
from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.ids import SLOTS
from services.common.slots import SlotTable
from services.gateway.clients import GrpcShard
from services.gateway.directory import StaticDirectory
from services.gateway.fanout import Fanout
from services.gateway.routing import Routes
from services.gateway.search import QueryVector, Searcher, SearchMode, SearchQuery

SHARDS = 4
IN_FLIGHT = (1, 8, 32)
SEARCHES = 400
DEADLINE_SECONDS = 30.0
Connect = Callable[[grpc.aio.Channel, str], GrpcShard]


class CallByCall(GrpcShard):
    """Each search in a call of its own, whatever the replica has to do."""

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        return await self._calls.search(request, timeout=timeout)


class Known:
    """Gives the vector of the question whose number is asked for."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:  # noqa: ARG002  # the protocol's
        return QueryVector(self._vectors[int(text) % len(self._vectors)].astype("<f4").tobytes(), index.MODEL)


async def measure(work: Path, found: data.Dataset, *, rounds: int) -> dict[str, Any]:
    """Searches each way in turns; milliseconds a search, medians over the rounds."""
    async with AsyncExitStack() as stack:
        folders = await asyncio.to_thread(write, work, found.corpus, SHARDS)
        servers = [await stack.enter_async_context(remote(folder, threads=1)) for folder in folders]
        ways: dict[str, Connect] = {"call by call": CallByCall, "together": GrpcShard}
        searchers = {name: await _searcher(servers, connect, found.queries) for name, connect in ways.items()}
        turns: dict[str, list[dict[str, float]]] = {
            f"{name}, {flight} in flight": [] for flight in IN_FLIGHT for name in ways
        }
        for number in range(rounds + 1):
            for flight in IN_FLIGHT:
                for name in list(ways)[:: 1 if number % 2 else -1]:
                    turn = await _turn(searchers[name], servers, flight)
                    if number:  # the first is for warming up
                        turns[f"{name}, {flight} in flight"].append(turn)
    return {
        way: {name: statistics.median(turn[name] for turn in each) for name in each[0]} for way, each in turns.items()
    }


async def _searcher(servers: list[Remote], connect: Connect, queries: Vectors) -> Searcher:
    clients = [connect(server.channel, "a bench server") for server in servers]
    for client in clients:
        await client.state(timeout=DEADLINE_SECONDS)  # which says how many searches it runs at once
    table = SlotTable(1, len(servers), bytes(slot * len(servers) // SLOTS for slot in range(SLOTS)))

    async def load() -> SlotTable:
        return table

    routes = Routes(load)
    await routes.refresh()
    return Searcher(
        embedder=Known(queries),
        fanout=Fanout(directory=StaticDirectory([[client] for client in clients]), routes=routes),
        deadline_seconds=DEADLINE_SECONDS,
        semantic_floor=0.0,
        semantic_floor_alone=0.0,
        depth=50,
        more_per_video=4,
        concurrency=max(IN_FLIGHT),
    )


async def _turn(searcher: Searcher, servers: list[Remote], flight: int) -> dict[str, float]:
    before, own, begun = sum(server.cpu_seconds for server in servers), time.process_time(), time.perf_counter()
    seconds: list[float] = []
    numbers = iter(range(SEARCHES))
    await asyncio.gather(*(_one_after_the_other(searcher, numbers, seconds) for _ in range(flight)))
    taken, own = time.perf_counter() - begun, time.process_time() - own
    theirs = sum(server.cpu_seconds for server in servers) - before
    return {
        "searches/s": SEARCHES / taken,
        "gateway's CPU ms": 1000 * own / SEARCHES,
        "shards' CPU ms": 1000 * theirs / SEARCHES,
        "p50 ms": 1000 * float(np.percentile(seconds, 50)),
        "p99 ms": 1000 * float(np.percentile(seconds, 99)),
    }


async def _one_after_the_other(searcher: Searcher, numbers: Iterator[int], seconds: list[float]) -> None:
    for number in numbers:
        begun = time.perf_counter()
        query = SearchQuery.of(str(number), max_chars=100, seen=None, mode=SearchMode.SEMANTIC)
        answer = await searcher.search(query)
        assert answer.coverage.complete, "a shard did not answer"
        seconds.append(time.perf_counter() - begun)
