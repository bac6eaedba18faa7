"""The shapes of the operators' part of the HTTP API."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from services.common.ids import SLOTS


class _Shape(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class _Request(_Shape):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class SegmentState(_Shape):
    """A part of a replica's index."""

    segment_id: str
    kind: str = Field(examples=["head"])
    live: int
    """Chunks that can be found."""
    deleted: int
    """Chunks removed, whose place is not free yet."""
    bytes: int
    """On disk."""


class ReplicaState(_Shape):
    """One replica of a shard, as it says itself. Of one that does not answer, only the first five."""

    replica: int
    target: str = Field(examples=["127.0.0.1:50053"])
    answers: bool
    problem: str | None
    """Why it does not answer."""
    ready: bool
    """Whether it has caught up with the events since it started."""
    chunk_count: int | None = None
    video_count: int | None = None
    applied_sequence: int | None = None
    """Last event applied."""
    snapshot_sequence: int | None = None
    """Last event that is in a snapshot on its disk."""
    lag: int | None = None
    """Events of its slots that it has yet to apply."""
    model: str | None = None
    """Embedding model of its vectors."""
    origin: str | None = None
    """How the index came to be at this start: snapshot, object_store, rebuild or empty."""
    slots_held: int | None = None
    """Slots it holds whole, those on the move included."""
    slot_table_version: int | None = None
    rebuilds: int | None = None
    """How often it was built anew since the start, by `POST /shards/rebuild`."""
    rebuilding: bool | None = None
    repaired: list[str] | None = None
    """What was found damaged on its disk at this start, and has been built again."""
    trouble: list[str] | None = None
    """What does not work just now, such as a snapshot that its disk does not take."""
    resident_bytes: int | None = None
    """Memory its process has resident."""
    segments: list[SegmentState] | None = None


class Shard(_Shape):
    """A part of the index."""

    shard: int
    slots: list[int]
    """Slots it answers for."""
    replicas: list[ReplicaState]


class SlotMove(_Shape):
    """A slot on its way from one shard to another."""

    slot: int
    source: int
    target: int
    phase: Literal["copying", "draining"]
    """copying: the source answers, the target fills itself. draining: the target answers, the source still holds it."""
    reason: str | None
    """Why it does not get on."""


class SlotGoal(_Shape):
    """What is wanted and not reached yet."""

    shards: int
    set_at: dt.datetime
    slots_total: int
    """Slots that had to move when it was set."""
    slots_left: int
    """Slots that another shard is still to answer for. Those that drain are not counted: they are in their place."""
    waiting: list[str]
    """Why moves do not begin."""


class Index(_Shape):
    """The slot table, the shards, and what is on the move."""

    version: int
    """Of the slot table."""
    shards_total: int
    """Shards there are to be indexers for."""
    stream_sequence: int
    """The newest event."""
    shards: list[Shard]
    moves: list[SlotMove]
    goal: SlotGoal | None
    """null when the slots are where they are wanted."""


class SlotDigest(_Shape):
    """What a replica holds of a slot."""

    slot: int
    chunk_count: int
    digest: str
    """SHA-256, in hex, over its chunks, their vectors and their videos."""


class ReplicaDigests(_Shape):
    """What a replica holds of the slots its shard owns."""

    shard: int
    replica: int
    problem: str | None
    slots: list[SlotDigest]


class IndexDigests(_Shape):
    """What every replica holds, with the events up to `stream_sequence` in."""

    stream_sequence: int
    replicas: list[ReplicaDigests]


Whole = Annotated[int, Strict()]
"""A number as JSON writes whole ones: no text, no true, no 2.0, which are slips rather than shards."""


class MoveRequest(_Request):
    """Slots, and the shard they are to go to."""

    slots: list[Whole] = Field(min_length=1, max_length=SLOTS, examples=[[17, 18]])
    to: Whole = Field(ge=0, lt=SLOTS)


class PlanRequest(_Request):
    """A number of shards, or moves."""

    shards: Whole | None = Field(default=None, examples=[3])
    moves: list[MoveRequest] = Field(default=[], max_length=SLOTS)


class ScaleRequest(_Request):
    """A number of shards."""

    shards: Whole = Field(examples=[3])


class CancelRequest(_Request):
    """Nothing; it is asked for so that no page of another site can call moves off."""


class RebuildRequest(_Request):
    """All replicas, those of a shard, or one of them."""

    all: Annotated[bool, Strict()] = False
    shard: Whole | None = Field(default=None, ge=0, lt=SLOTS)
    replica: Whole | None = Field(default=None, ge=0)


class PlannedMove(_Shape):
    """A slot that would move, or is going to."""

    slot: int
    source: int
    target: int
    chunks: int | None
    """null when a shard did not say."""


class ShardLoad(_Shape):
    """What a shard carries."""

    shard: int
    slots: int
    chunks: int | None


class Plan(_Shape):
    """What moves, and what each shard carries before and after."""

    shards: int
    moves: list[PlannedMove]
    slots: int
    """How many slots move."""
    chunks: int | None
    """How many chunks are in them."""
    before: list[ShardLoad]
    after: list[ShardLoad]


class Cancelled(_Shape):
    """What was called off."""

    called_off: int
    """Slots that were being copied."""


class RebuildAsked(_Shape):
    """A replica that builds its index anew, and how often it had before."""

    shard: int
    replica: int
    rebuilds: int


class RebuildAnswer(_Shape):
    """Who builds anew."""

    replicas: list[RebuildAsked]
