"""A shard directory for which it is enough to know addresses: who is there says itself which shard it serves.

That a pod of some number serves some shard is true until somebody changes how they are numbered; what an indexer says
of itself is true of it. So no list of places has to be right at the same moment as the indexers, least of all while
their number changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.registry import Peer
from services.gateway.addresses import Address, Addresses
from services.gateway.directory import MAX_LAG_EVENTS, Replica, Rows, ShardClient
from services.gateway.farewell import Farewell
from services.gateway.looks import keep_looking

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class _Entry:
    """Who is at an address: the connection, and the replica it said it is, if it has said so yet."""

    def __init__(self, address: Address, client: ShardClient) -> None:
        self.address = address
        self.client = client
        self.number = 0
        self.replica: Replica | None = None


class AddressDirectory(Rows):
    """The replicas at some addresses, each looked at again and again.

    A new address takes searches once its process has said which shard it serves. One that has gone takes none from
    that moment on; what is under way on it may end.

    Args:
        addresses: Where indexers are.
        connect: Opens the connection to a target; must not wait for it.
        linger_seconds: Longest time a search takes.
        max_lag_events: Lag above which a replica is left out while there are others.
        look_seconds: Time a replica has to say how it is.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        addresses: Addresses,
        *,
        connect: Callable[[str], ShardClient],
        linger_seconds: float,
        max_lag_events: int = MAX_LAG_EVENTS,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_lag_events=max_lag_events)
        self._addresses = addresses
        self._connect = connect
        self._clock = clock
        self._look_seconds = look_seconds
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._farewell = Farewell(linger_seconds=linger_seconds, clock=clock)
        self._new = asyncio.Event()
        addresses.listen(self._follow)
        self._follow()

    async def peers(self) -> list[Peer]:
        """Gives the replicas that have said who they are, by shard and number."""
        return sorted(
            Peer(entry.replica.shard, entry.number, entry.address.target)
            for entry in self._entries.values()
            if entry.replica is not None
        )

    async def run(self, *, every_seconds: float) -> None:
        """Looks at every replica, for ever, and at a new one at once."""
        await keep_looking(
            lambda: list(self._entries.values()), self._look, every_seconds=every_seconds, wake=self._new
        )

    async def close(self) -> None:
        """Closes all connections."""
        entries, self._entries, self._rows = self._entries, {}, {}
        await self._farewell.close()
        for entry in entries.values():
            await entry.client.close()

    def _follow(self) -> None:
        """Takes over the addresses of the moment."""
        entries: dict[tuple[str, str], _Entry] = {}
        for address in self._addresses.current:
            key = address.target, address.owner
            entry = entries[key] = self._entries.get(key) or _Entry(address, self._connect(address.target))
            entry.address = address
            if entry.replica is not None:
                entry.replica.leaving = address.leaving
        gone = [entry for key, entry in self._entries.items() if key not in entries]
        come = [entry.address.target for key, entry in entries.items() if key not in self._entries]
        self._entries = entries
        self._farewell.add(entry.client for entry in gone)
        self._arrange()
        if gone or come:
            log.info("index_replicas_changed", come=come, gone=[entry.address.target for entry in gone])
        self._new.set()

    async def _look(self, entry: _Entry) -> None:
        await self._farewell.close_due()
        state = await entry.client.state(timeout=self._look_seconds)
        if state is not None and not _is(entry, state):
            entry.replica = Replica(entry.client, state.shard, clock=self._clock)
            entry.replica.leaving = entry.address.leaving
            entry.number = state.replica
            self._arrange()
            log.info("index_replica_found", target=entry.address.target, shard=state.shard, replica=state.replica)
        if entry.replica is not None:
            entry.replica.looked_at(state)

    def _arrange(self) -> None:
        rows: dict[int, list[tuple[int, str, Replica]]] = {}
        for entry in self._entries.values():
            if entry.replica is not None:
                rows.setdefault(entry.replica.shard, []).append((entry.number, entry.address.target, entry.replica))
        self._rows = {
            shard: [replica for _, _, replica in sorted(row, key=lambda one: one[:2])] for shard, row in rows.items()
        }


def _is(entry: _Entry, state: pb.GetShardResponse) -> bool:
    """Says whether it is the replica it was; a container started anew may have been given another place."""
    return entry.replica is not None and (entry.replica.shard, entry.number) == (state.shard, state.replica)
