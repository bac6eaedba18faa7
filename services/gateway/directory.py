"""Which replicas answer for which shard, and which of them to ask next."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from earmark.internal.v1 import shard_service_pb2 as pb

EJECT_AFTER_FAILURES = 3
EJECT_SECONDS = 1.0
EJECT_SECONDS_MAX = 30.0


class ShardClient(Protocol):
    """One replica of one shard, as reached over the network."""

    @property
    def target(self) -> str:
        """Where it is, for logs and readiness."""
        ...

    async def search(self, request: pb.SearchShardRequest, *, timeout: float) -> pb.SearchShardResponse:
        """Searches, in at most `timeout` seconds.

        Raises:
            EarmarkError: It did not; `code` says why.
        """
        ...

    async def ready(self, *, timeout: float) -> bool:
        """Says whether it serves; never raises."""
        ...


class Replica:
    """A replica with what is known of it: its health, its failures and how much it has to do.

    Attributes:
        client: How it is reached.
        shard: Number of its shard.
        ready: What the last health check said; None before the first one.
        outstanding: Searches under way.
    """

    __slots__ = ("_clock", "_ejected_until", "_failures", "client", "outstanding", "ready", "shard")

    def __init__(self, client: ShardClient, shard: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.shard = shard
        self.ready: bool | None = None
        self.outstanding = 0
        self._failures = 0
        self._ejected_until = 0.0
        self._clock = clock

    @property
    def ejected(self) -> bool:
        """Whether it failed several times in a row a moment ago, and is given time to recover."""
        return self._ejected_until > 0.0 and self._clock() < self._ejected_until

    def succeeded(self) -> None:
        """Notes an answer."""
        self._failures = 0
        self._ejected_until = 0.0

    def failed(self) -> None:
        """Notes a failure that is the replica's own: it could not be reached or did not answer in time."""
        self._failures += 1
        if self._failures >= EJECT_AFTER_FAILURES:
            times = self._failures - EJECT_AFTER_FAILURES
            self._ejected_until = self._clock() + min(EJECT_SECONDS * 2**times, EJECT_SECONDS_MAX)


class ShardDirectory(Protocol):
    """Knows the shards and picks replicas."""

    @property
    def shards(self) -> Sequence[int]:
        """Numbers of the shards there are."""
        ...

    def replicas(self, shard: int) -> Sequence[Replica]:
        """Gives all replicas of a shard, whatever their state."""
        ...

    def pick(self, shard: int, *, without: Collection[Replica] = ()) -> Replica | None:
        """Gives the replica to ask next, or None when none can be expected to answer."""
        ...


class StaticDirectory:
    """The shards of a list given at start.

    A replica that says it is not ready is not asked. One that failed several times in a row is left alone for a
    while, unless there is no other: asking it is then better than giving up. Of the rest the one with the fewest
    searches under way is taken, which also moves load away from a slow one; equals take turns.
    """

    def __init__(self, shards: Sequence[Sequence[ShardClient]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = [[Replica(client, shard, clock=clock) for client in row] for shard, row in enumerate(shards)]
        self._shards = range(len(shards))
        self._turn = 0

    @property
    def shards(self) -> Sequence[int]:
        """Numbers of the shards there are."""
        return self._shards

    def replicas(self, shard: int) -> Sequence[Replica]:
        """Gives all replicas of a shard, whatever their state."""
        return self._replicas[shard]

    def pick(self, shard: int, *, without: Collection[Replica] = ()) -> Replica | None:
        """Gives the replica to ask next, or None when none can be expected to answer."""
        row = self._replicas[shard]
        if len(row) == 1:
            only = row[0]
            return None if only.ready is False or only in without else only
        candidates = [replica for replica in row if replica.ready is not False and replica not in without]
        if not candidates:
            return None
        healthy = [replica for replica in candidates if not replica.ejected] or candidates
        self._turn += 1
        first = self._turn % len(healthy)
        return min(healthy[first:] + healthy[:first], key=lambda replica: replica.outstanding)

    def all_replicas(self) -> list[Replica]:
        """Gives every replica of every shard."""
        return [replica for row in self._replicas for replica in row]
