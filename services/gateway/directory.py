"""Which replicas answer for which shard, and which of them to ask next."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.registry import Peer
from services.gateway.ejection import Ejection
from services.gateway.farewell import Farewell

MAX_LAG_EVENTS = 1000


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

    async def search_many(
        self, requests: Sequence[pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[pb.SearchShardResponse]:
        """Runs up to 256 searches in one call, in at most `timeout` seconds; one that is wrong fails all.

        Raises:
            EarmarkError: It did not; `code` says why.
        """
        ...

    async def state(self, *, timeout: float) -> pb.GetShardResponse | None:
        """Asks how it is; None when it does not answer. Never raises."""
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...


class Needs(NamedTuple):
    """What a replica should have to be asked; one that does not is asked only when no other is left."""

    slots: int = 0
    """Slots it should hold: bit n is slot n."""
    min_sequence: int = 0
    """Stream sequence it should have applied."""
    taste: int | None = None
    """Says which of equals to take; None takes them in turn."""


_NOTHING = Needs()


class Replica:
    """A replica with what is known of it: what it said last, its failures and how much it has to do.

    Attributes:
        client: How it is reached.
        shard: Number of its shard.
        ready: Whether it said that it can answer; None before it was asked.
        lag: Events of its slots that it has yet to apply.
        applied_sequence: Stream sequence it has applied.
        slots: Slots it holds, bit n for slot n; 0 while that is not known.
        model_revision: Model of its vectors; empty while there are none or that is not known.
        number: Its number among the replicas of the shard; None while that is not known.
        slot_table_version: Version of the slot table it goes by.
        outstanding: Searches under way.
        leaving: Whether it is about to end.
    """

    __slots__ = (
        "_ejection",
        "applied_sequence",
        "client",
        "lag",
        "leaving",
        "model_revision",
        "number",
        "outstanding",
        "ready",
        "shard",
        "slot_table_version",
        "slots",
    )

    def __init__(self, client: ShardClient, shard: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.shard = shard
        self.ready: bool | None = None
        self.lag = 0
        self.applied_sequence = 0
        self.slots = 0
        self.model_revision = ""
        self.number: int | None = None
        self.slot_table_version = 0
        self.outstanding = 0
        self.leaving = False
        self._ejection = Ejection(clock=clock)

    @property
    def ejected(self) -> bool:
        """Whether it failed several times in a row a moment ago, and is given time to recover."""
        return self._ejection.ejected

    def looked_at(self, state: pb.GetShardResponse | None) -> None:
        """Notes what it said of itself; None when it said nothing.

        One that says it is of another shard is not ready: ports are used again, and whoever was there is gone.
        """
        if state is None or state.shard != self.shard:
            self.ready = False
            return
        self.ready = state.ready
        self.number = state.replica
        self.lag = state.lag
        self.applied_sequence = state.applied_sequence
        self.slots = int.from_bytes(state.slots, "little")
        self.model_revision = state.model_revision
        self.slot_table_version = state.slot_table_version

    def answered(self, response: pb.SearchShardResponse) -> None:
        """Notes an answer, with how far the replica was."""
        self._ejection.succeeded()
        self.number = response.replica
        self.lag = response.lag
        self.applied_sequence = max(self.applied_sequence, response.applied_sequence)

    def failed(self) -> None:
        """Notes a failure that is the replica's own: it could not be reached or did not answer in time."""
        self._ejection.failed()


class ShardDirectory(Protocol):
    """Knows the replicas of the shards and picks among them."""

    def replicas(self, shard: int) -> Sequence[Replica]:
        """Gives all replicas of a shard, whatever their state; none for a shard nobody serves."""
        ...

    def all_replicas(self) -> Sequence[Replica]:
        """Gives every replica of every shard."""
        ...

    def pick(self, shard: int, *, without: Collection[Replica] = (), needs: Needs = _NOTHING) -> Replica | None:
        """Gives the replica to ask next, or None when none can be expected to answer."""
        ...

    def known(self, shard: int, number: int) -> Replica | None:
        """Gives a replica by its number, if it may be asked now."""
        ...


class Rows:
    """Replicas by shard, and the choice among them.

    A replica that says it is not ready is not asked. Left out as long as there are others: one that failed several
    times in a row, one that is about to end, one that is too far behind the events, one that lacks what the search
    needs, one that has not said anything yet. Of the rest the one with the fewest searches under way is taken, which
    also moves load away from a slow one; of equals the search's taste decides, or they take turns.
    """

    def __init__(self, *, max_lag_events: int) -> None:
        self._rows: dict[int, list[Replica]] = {}
        self._max_lag = max_lag_events
        self._turn = 0

    def replicas(self, shard: int) -> Sequence[Replica]:
        """Gives all replicas of a shard, whatever their state; none for a shard nobody serves."""
        return self._rows.get(shard, ())

    def all_replicas(self) -> list[Replica]:
        """Gives every replica of every shard."""
        return [replica for row in self._rows.values() for replica in row]

    def known(self, shard: int, number: int) -> Replica | None:
        """Gives a replica by its number, if it may be asked now: it is ready and, unless it is alone, not behind."""
        row = self._rows.get(shard, ())
        for replica in row:
            if replica.number == number and replica.ready is not False and not replica.ejected:
                return replica if len(row) == 1 or replica.lag <= self._max_lag else None
        return None

    def pick(self, shard: int, *, without: Collection[Replica] = (), needs: Needs = _NOTHING) -> Replica | None:
        """Gives the replica to ask next, or None when none can be expected to answer."""
        row = self._rows.get(shard, ())
        if len(row) == 1:
            only = row[0]
            return None if only.ready is False or only in without else only
        left = [replica for replica in row if replica.ready is not False and replica not in without]
        if not left:
            return None
        left = [replica for replica in left if not replica.ejected] or left
        left = [replica for replica in left if not replica.leaving] or left
        left = [replica for replica in left if replica.lag <= self._max_lag] or left
        left = [replica for replica in left if not replica.slots or not needs.slots & ~replica.slots] or left
        if needs.min_sequence:
            left = [replica for replica in left if replica.applied_sequence >= needs.min_sequence] or left
        left = [replica for replica in left if replica.ready] or left
        self._turn += 1
        first = (self._turn if needs.taste is None else needs.taste) % len(left)
        return min(left[first:] + left[:first], key=lambda replica: replica.outstanding)


class StaticDirectory(Rows):
    """The replicas of a list given at start: for each shard, from 0, the clients of its replicas."""

    def __init__(
        self,
        shards: Sequence[Sequence[ShardClient]],
        *,
        max_lag_events: int = MAX_LAG_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_lag_events=max_lag_events)
        for shard, row in enumerate(shards):
            self._rows[shard] = [Replica(client, shard, clock=clock) for client in row]

    async def close(self) -> None:
        """Closes all connections."""
        for replica in self.all_replicas():
            await replica.client.close()


class RegistryDirectory(Rows):
    """The replicas that are registered, kept up with by `refresh`.

    Args:
        peers: Gives the registered replicas.
        connect: Opens the connection to a target; must not wait for it.
        linger_seconds: Longest time a search takes. The connection to a replica that has gone from the registry, or
            moved, is closed that long after nobody is sent to it any more.
        max_lag_events: Lag above which a replica is left out while there are others.
    """

    def __init__(
        self,
        peers: Callable[[], Awaitable[Sequence[Peer]]],
        *,
        connect: Callable[[str], ShardClient],
        linger_seconds: float,
        max_lag_events: int = MAX_LAG_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_lag_events=max_lag_events)
        self._peers = peers
        self._connect = connect
        self._clock = clock
        self._known: dict[Peer, Replica] = {}
        self._farewell = Farewell(linger_seconds=linger_seconds, clock=clock)

    async def refresh(self) -> None:
        """Reads the registry. What is known stays as it is when that raises."""
        peers = sorted(set(await self._peers()))
        known = {
            peer: self._known.get(peer) or Replica(self._connect(peer.target), peer.shard, clock=self._clock)
            for peer in peers
        }
        self._farewell.add(replica.client for peer, replica in self._known.items() if peer not in known)
        rows: dict[int, list[Replica]] = {}
        for peer, replica in known.items():
            rows.setdefault(peer.shard, []).append(replica)
        self._known, self._rows = known, rows
        await self._farewell.close_due()

    async def close(self) -> None:
        """Closes all connections."""
        known, self._known, self._rows = self._known, {}, {}
        await self._farewell.close()
        for replica in known.values():
            await replica.client.close()
