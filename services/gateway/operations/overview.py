"""The mesh at a glance: its index, its queues, who is there, how fast it is, and what people ask.

Each part is asked of whoever knows it, at the moment; one that cannot be told is left out and named, since an operator
looks here when something is wrong. Searches and queries are this gateway's own, since it started.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from services.common.errors import EarmarkError
from services.common.events.bus import Queue
from services.common.registry import Peer
from services.common.videos.model import SliceState, Video
from services.gateway import faults
from services.gateway.filters import SearchFilter
from services.gateway.operations.latency import RecentLatency
from services.gateway.operations.queries import Counted, QueryLog
from services.gateway.peers import ReplicaState
from services.gateway.search import SearchAnswer, SearchQuery

log = structlog.get_logger()

Json = dict[str, Any]

STAGES = {
    "slicer": "slice",
    "recognizer": "transcribe",
    "embedder": "embed",
    "illustrator": "pictures",
    "renderer": "renditions",
    "cleaner": "delete",
    "undertaker": "give up",
    "advisories": "notice failures",
}
"""What people call the work of each kind of worker."""
WINDOW = dt.timedelta(minutes=15)
ROLL_SECONDS = 0.3
_PART_SECONDS = 5.0


class Videos(Protocol):
    """The documents."""

    async def recent(self, since: dt.datetime) -> list[Video]:
        """Gives videos something happened to since then."""
        ...


class Peers(Protocol):
    """The replicas of the index."""

    async def look(self) -> list[ReplicaState]:
        """Asks every registered replica how it is."""
        ...


class Operations:
    """Gathers what an operator wants to see.

    Args:
        peers: The replicas of the index.
        queues: Says how long the queues are.
        roll: Says which processes are there; is given the seconds it may take.
        videos: The documents.
        caches: Says how the caches do.
        keep_queries: Whether what people ask is counted.
        now: Says what time it is.
    """

    def __init__(
        self,
        *,
        peers: Peers,
        queues: Callable[[], Awaitable[Sequence[Queue]]],
        roll: Callable[[float], Awaitable[list[Json]]],
        videos: Videos,
        caches: Callable[[], Mapping[str, Json]],
        keep_queries: bool,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._peers = peers
        self._queues = queues
        self._roll = roll
        self._videos = videos
        self._caches = caches
        self._keep_queries = keep_queries
        self._now = now
        self._latency = RecentLatency()
        self._asked = QueryLog()

    def searched(self, query: SearchQuery, answer: SearchAnswer) -> None:
        """Notes a search that was answered."""
        self._latency.note(answer.timing.total, partial=not answer.coverage.complete)
        if self._keep_queries and not query.cursor.shown:
            # What a partial answer does not have, or a filter left out, may be in the index all the same; only that of
            # collections stands for what a key may see, too.
            filtered = replace(query.filters, collections=()) != SearchFilter()
            everything = answer.coverage.complete and not filtered
            self._asked.note(query.text, found=bool(answer.hits) or not everything)

    async def overview(self) -> Json:
        """Gives all of it; `problems` says what could not be told, and why."""
        problems: list[Json] = []
        shards, queues, workers, throughput = await asyncio.gather(
            self._part("shards", self._shards(), problems),
            self._part("queues", self._queue_lengths(), problems),
            self._part("workers", self._roll(ROLL_SECONDS), problems),
            self._part("throughput", self._throughput(), problems),
        )
        found = self._latency.look()
        return {
            "shards": shards,
            "queues": queues,
            "workers": workers,
            "throughput": throughput,
            "search": {
                "minutes": found.minutes,
                "count": found.count,
                "partial": found.partial,
                "p50_ms": _ms(found.p50),
                "p95_ms": _ms(found.p95),
                "p99_ms": _ms(found.p99),
            },
            "queries": {
                "kept": self._keep_queries,
                "frequent": [_counted(one) for one in self._asked.frequent.top()],
                "without_results": [_counted(one) for one in self._asked.without_results.top()],
            },
            "cache": dict(self._caches()),
            "problems": problems,
            "at": self._now(),
        }

    async def _part(self, name: str, work: Awaitable[Any], problems: list[Json]) -> Any:
        """Gives a part, or None with the reason among the problems."""
        try:
            async with asyncio.timeout(_PART_SECONDS):
                return await work
        except TimeoutError:
            problems.append({"part": name, "message": f"there was no answer in {_PART_SECONDS:g} s"})
        except Exception as error:
            told = error if isinstance(error, EarmarkError) else faults.known(error)
            if told is None:
                raise
            log.warning("operations_part_unknown", part=name, error=repr(error))
            problems.append({"part": name, "message": told.message})
        return None

    async def _shards(self) -> list[Json]:
        shards: dict[int, list[Json]] = {}
        for state in sorted(await self._peers.look(), key=lambda one: (one.peer.shard, one.peer.replica)):
            shards.setdefault(state.peer.shard, []).append(_replica(state.peer, state))
        return [{"shard": shard, "replicas": replicas} for shard, replicas in sorted(shards.items())]

    async def _queue_lengths(self) -> list[Json]:
        return [
            {
                "stage": STAGES.get(queue.work, queue.work),
                "work": queue.work,
                "pending": queue.pending,
                "in_flight": queue.in_flight,
                "oldest_s": None if queue.oldest_seconds is None else round(max(queue.oldest_seconds, 0.0), 1),
            }
            for queue in await self._queues()
        ]

    async def _throughput(self) -> Json:
        since = self._now() - WINDOW
        recent = await self._videos.recent(since)
        done = [
            part.end_time - part.start_time
            for video in recent
            for part in video.slices
            if part.state is SliceState.INDEXED and part.done_at is not None and part.done_at > since
        ]
        ready = [
            video for video in recent if video.metadata.processed_at is not None and video.metadata.processed_at > since
        ]
        return {
            "minutes": round(WINDOW.total_seconds() / 60),
            "videos_ready": len(ready),
            "slices_searchable": len(done),
            "media_seconds_searchable": round(sum(done), 1),
            # Seconds of media for each second that passed: how many times faster than speech the mesh is.
            "times_real_time": round(sum(done) / WINDOW.total_seconds(), 2),
        }


def _replica(peer: Peer, state: ReplicaState) -> Json:
    told = state.shard_state
    if told is None:
        return {
            "replica": peer.replica,
            "address": peer.target,
            "state": "away",
            "problem": state.problem,
            "chunks": None,
            "videos": None,
            "lag": None,
            "resident_bytes": None,
            "model": None,
        }
    return {
        "replica": peer.replica,
        "address": peer.target,
        "state": "rebuilding" if told.rebuilding else "ready" if told.ready else "catching up",
        "problem": "; ".join(told.trouble) or None,
        "chunks": told.chunk_count,
        "videos": told.video_count,
        "lag": told.lag,
        "resident_bytes": told.resident_bytes,
        "model": told.model_revision or None,
    }


def _counted(one: Counted) -> Json:
    return {"query": one.query, "count": one.count, "count_at_least": one.count - one.too_many, "last_at": one.last_at}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
