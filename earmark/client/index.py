"""The index as an operator sees it: its shards, which slots they hold, and what is on the move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from earmark.client.calls import AsyncSend, Call, Send, parsed
from earmark.client.results import Json


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a shard. What it did not say is None."""

    shard: int
    replica: int
    target: str
    answers: bool
    problem: str
    ready: bool
    chunk_count: int | None
    applied_sequence: int | None
    lag: int | None
    slots_held: int | None
    model: str | None
    rebuilds: int
    rebuilding: bool
    repaired: tuple[str, ...]
    trouble: tuple[str, ...]
    segments: int
    resident_bytes: int | None

    @property
    def name(self) -> str:
        """What it is called, e.g. `s0r1`."""
        return f"s{self.shard}r{self.replica}"

    @classmethod
    def parse(cls, shard: int, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            shard=shard,
            replica=data["replica"],
            target=data.get("target") or "",
            answers=bool(data.get("answers")),
            problem=data.get("problem") or "",
            ready=bool(data.get("ready")),
            chunk_count=data.get("chunk_count"),
            applied_sequence=data.get("applied_sequence"),
            lag=data.get("lag"),
            slots_held=data.get("slots_held"),
            model=data.get("model"),
            rebuilds=data.get("rebuilds") or 0,
            rebuilding=bool(data.get("rebuilding")),
            repaired=tuple(data.get("repaired") or ()),
            trouble=tuple(data.get("trouble") or ()),
            segments=len(data.get("segments") or ()),
            resident_bytes=data.get("resident_bytes"),
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the index, and the slots it answers for."""

    shard: int
    slots: tuple[int, ...]
    replicas: tuple[Replica, ...]

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        shard = data["shard"]
        return cls(shard, tuple(data["slots"]), tuple(Replica.parse(shard, one) for one in data.get("replicas") or ()))


@dataclass(frozen=True, slots=True)
class SlotMove:
    """A slot on its way. `phase` is `copying` or `draining`; `reason` says why it does not get on."""

    slot: int
    source: int
    target: int
    phase: str
    reason: str


@dataclass(frozen=True, slots=True)
class SlotGoal:
    """What is wanted and not reached yet. `waiting` says why moves do not begin."""

    shards: int
    slots_total: int
    slots_left: int
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The slot table, the shards and what is on the move; `raw` is the JSON."""

    version: int
    shards_total: int
    stream_sequence: int
    shards: tuple[Shard, ...]
    moves: tuple[SlotMove, ...]
    goal: SlotGoal | None
    raw: Json

    @property
    def replicas(self) -> list[Replica]:
        """All replicas."""
        return [replica for shard in self.shards for replica in shard.replicas]

    @property
    def settled(self) -> bool:
        """Whether every slot is where it is wanted."""
        return self.goal is None and not self.moves

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        goal = data.get("goal")
        return cls(
            version=data["version"],
            shards_total=data["shards_total"],
            stream_sequence=data["stream_sequence"],
            shards=tuple(Shard.parse(shard) for shard in data["shards"]),
            moves=tuple(
                SlotMove(one["slot"], one["source"], one["target"], one["phase"], one.get("reason") or "")
                for one in data["moves"]
            ),
            goal=SlotGoal(goal["shards"], goal["slots_total"], goal["slots_left"], tuple(goal["waiting"]))
            if goal
            else None,
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class ShardLoad:
    """What a shard carries; `chunks` is None when that is not known."""

    shard: int
    slots: int
    chunks: int | None


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What would move, or is going to: `slots` of them with `chunks` in them; `raw` is the JSON."""

    shards: int
    slots: int
    chunks: int | None
    before: tuple[ShardLoad, ...]
    after: tuple[ShardLoad, ...]
    raw: Json

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        before, after = (
            tuple(ShardLoad(one["shard"], one["slots"], one["chunks"]) for one in data[when])
            for when in ("before", "after")
        )
        return cls(data["shards"], data["slots"], data["chunks"], before, after, data)


@dataclass(frozen=True, slots=True)
class RebuildAsked:
    """A replica that builds its index anew; it is done when its `rebuilds` is above this one."""

    shard: int
    replica: int
    rebuilds: int


@dataclass(frozen=True, slots=True)
class ReplicaDigests:
    """What a replica holds: count and SHA-256 (hex) by slot. `problem` says why that is not known."""

    shard: int
    replica: int
    problem: str
    slots: dict[int, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class IndexDigests:
    """What all replicas hold, with the events up to `stream_sequence` in."""

    stream_sequence: int
    replicas: tuple[ReplicaDigests, ...]

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        replicas = tuple(
            ReplicaDigests(
                one["shard"],
                one["replica"],
                one.get("problem") or "",
                {slot["slot"]: (slot["chunk_count"], slot["digest"]) for slot in one["slots"]},
            )
            for one in data["replicas"]
        )
        return cls(data["stream_sequence"], replicas)


class Index:
    """The operator's part of a client: `client.index`. Every method raises `EarmarkClientError`."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def status(self) -> IndexStatus:
        """How the shards are, and what is on the move."""
        status: IndexStatus = self._send(_status())
        return status

    def digests(self) -> IndexDigests:
        """What every replica holds, slot by slot."""
        digests: IndexDigests = self._send(_digests())
        return digests

    def plan(self, *, shards: int | None = None, moves: Iterable[tuple[Iterable[int], int]] = ()) -> MovePlan:
        """What would move, for a number of shards or for moves of slots to a shard; changes nothing."""
        plan: MovePlan = self._send(_plan(shards, moves))
        return plan

    def move(self, slots: Iterable[int], to: int) -> MovePlan:
        """Has slots moved to a shard."""
        plan: MovePlan = self._send(_move(slots, to))
        return plan

    def scale(self, shards: int) -> MovePlan:
        """Has the slots spread over another number of shards."""
        plan: MovePlan = self._send(_scale(shards))
        return plan

    def cancel(self) -> int:
        """Calls off what has not changed over yet, and says how many slots were being copied."""
        called_off: int = self._send(_cancel())
        return called_off

    def rebuild(self, shard: int | None = None, replica: int | None = None) -> list[RebuildAsked]:
        """Has replicas build their index anew: all, those of a shard, or one of them."""
        asked: list[RebuildAsked] = self._send(_rebuild(shard, replica))
        return asked


class AsyncIndex:
    """`Index` for asyncio: the same methods, awaited."""

    def __init__(self, send: AsyncSend) -> None:
        self._send = send

    async def status(self) -> IndexStatus:
        """How the shards are, and what is on the move."""
        status: IndexStatus = await self._send(_status())
        return status

    async def digests(self) -> IndexDigests:
        """What every replica holds, slot by slot."""
        digests: IndexDigests = await self._send(_digests())
        return digests

    async def plan(self, *, shards: int | None = None, moves: Iterable[tuple[Iterable[int], int]] = ()) -> MovePlan:
        """What would move, for a number of shards or for moves of slots to a shard; changes nothing."""
        plan: MovePlan = await self._send(_plan(shards, moves))
        return plan

    async def move(self, slots: Iterable[int], to: int) -> MovePlan:
        """Has slots moved to a shard."""
        plan: MovePlan = await self._send(_move(slots, to))
        return plan

    async def scale(self, shards: int) -> MovePlan:
        """Has the slots spread over another number of shards."""
        plan: MovePlan = await self._send(_scale(shards))
        return plan

    async def cancel(self) -> int:
        """Calls off what has not changed over yet, and says how many slots were being copied."""
        called_off: int = await self._send(_cancel())
        return called_off

    async def rebuild(self, shard: int | None = None, replica: int | None = None) -> list[RebuildAsked]:
        """Has replicas build their index anew: all, those of a shard, or one of them."""
        asked: list[RebuildAsked] = await self._send(_rebuild(shard, replica))
        return asked


def _status() -> Call[IndexStatus]:
    return Call("GET", "/v1/shards", parsed(IndexStatus.parse))


def _digests() -> Call[IndexDigests]:
    return Call("GET", "/v1/shards/digests", parsed(IndexDigests.parse))


def _plan(shards: int | None, moves: Iterable[tuple[Iterable[int], int]]) -> Call[MovePlan]:
    body: dict[str, Any] = {"moves": [{"slots": list(slots), "to": to} for slots, to in moves]}
    return Call("POST", "/v1/shards/plan", parsed(MovePlan.parse), body=body if shards is None else {"shards": shards})


def _move(slots: Iterable[int], to: int) -> Call[MovePlan]:
    return Call("POST", "/v1/shards/move", parsed(MovePlan.parse), body={"slots": list(slots), "to": to})


def _scale(shards: int) -> Call[MovePlan]:
    return Call("POST", "/v1/shards/scale", parsed(MovePlan.parse), body={"shards": shards})


def _cancel() -> Call[int]:
    return Call("POST", "/v1/shards/cancel", parsed(lambda data: int(data["called_off"])), body={})


def _rebuild(shard: int | None, replica: int | None) -> Call[list[RebuildAsked]]:
    body: dict[str, Any] = {"all": True} if shard is None else {"shard": shard, "replica": replica}
    parse = parsed(lambda data: [RebuildAsked(**one) for one in data["replicas"]])
    return Call("POST", "/v1/shards/rebuild", parse, body=body)
