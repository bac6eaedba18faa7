"""The shape of what operators see, for the API's documentation."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field

from services.gateway.http.models import Shape


class ReplicaState(Shape):
    """How a replica is, by its own word."""

    replica: int
    address: str = Field(examples=["10.1.2.3:50053"])
    state: Literal["ready", "catching up", "rebuilding", "away"]
    problem: str | None
    """Why there is no answer, or what does not work just now."""
    chunks: int | None
    videos: int | None
    lag: int | None
    """Events of its slots that it has yet to apply."""
    resident_bytes: int | None
    model: str | None
    """Model revision of its vectors."""


class ShardState(Shape):
    """A shard and its replicas."""

    shard: int
    replicas: list[ReplicaState]


class QueueState(Shape):
    """Events before a stage."""

    stage: str = Field(examples=["transcribe"])
    work: str = Field(examples=["recognizer"])
    pending: int
    """No worker has taken them yet."""
    in_flight: int
    """They are being worked on, or are to be tried again."""
    oldest_s: float | None
    """Age of the oldest that is not done, in seconds."""


class WorkState(Shape):
    """What a process works on."""

    work: str
    busy: int
    """Events it works on just now."""


class WorkerState(Shape):
    """A process that answered a roll call."""

    service: str = Field(examples=["transcriber"])
    host: str
    pid: int
    since: dt.datetime
    work: list[WorkState]


class Throughput(Shape):
    """What was done in the last minutes."""

    minutes: int
    videos_ready: int
    slices_searchable: int
    media_seconds_searchable: float
    times_real_time: float
    """Seconds of media made searchable for each second that passed."""


class SearchState(Shape):
    """How long searches took in the last minutes at this gateway."""

    minutes: int
    count: int
    partial: int
    """They did not cover all shards and legs."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class CountedQuery(Shape):
    """A query and how often it was asked at this gateway since it started."""

    query: str
    count: int
    count_at_least: int
    """The count is exact where this is the same."""
    last_at: dt.datetime


class Queries(Shape):
    """What people ask."""

    kept: bool
    """Whether queries are counted at all."""
    frequent: list[CountedQuery]
    without_results: list[CountedQuery]
    """A complete answer found nothing."""


class Problem(Shape):
    """A part that cannot be told."""

    part: str
    message: str


class Operations(Shape):
    """The mesh at a glance."""

    shards: list[ShardState] | None
    queues: list[QueueState] | None
    workers: list[WorkerState] | None
    throughput: Throughput | None
    search: SearchState
    queries: Queries
    cache: dict[str, dict[str, Any]]
    """Each cache: entries, bytes, hits and misses."""
    problems: list[Problem]
    at: dt.datetime
