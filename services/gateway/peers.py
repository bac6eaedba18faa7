"""The replicas of the shards as an operator sees them: all that are registered, each asked itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import grpc

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.errors import EarmarkError
from services.common.registry import Peer
from services.common.rpc import connect, from_rpc
from services.common.slots import from_bitmap

LOOK_SECONDS = 2.0
DESCRIBE_SECONDS = 50.0
REBUILD_SECONDS = 5.0


class Registry(Protocol):
    """Who serves which shard."""

    async def peers(self) -> list[Peer]:
        """Gives all replicas."""
        ...


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What a registered replica says of itself.

    Attributes:
        peer: Who it is and where.
        shard_state: Its answer; None when there is none.
        problem: Why there is no answer, for people.
        held: Slots it holds whole.
    """

    peer: Peer
    shard_state: pb.GetShardResponse | None
    problem: str = ""
    held: frozenset[int] = frozenset()

    @property
    def live(self) -> bool:
        """Whether it answers."""
        return self.shard_state is not None

    @property
    def table_version(self) -> int:
        """Version of the slot table it goes by; 0 when it does not answer."""
        return int(self.shard_state.slot_table_version) if self.shard_state is not None else 0


class SlotContent(NamedTuple):
    """What a replica holds of a slot."""

    chunk_count: int
    digest: bytes


def name(peer: Peer) -> str:
    """Gives what a replica is called in logs and messages."""
    return f"s{peer.shard}r{peer.replica}"


class _Link:
    """A channel to a replica, and how many calls are under way on it."""

    def __init__(self, target: str) -> None:
        self.channel = connect(target)
        self.stub = pb_grpc.ShardServiceStub(self.channel)  # type: ignore[no-untyped-call]  # generated
        self.calls = 0


class GrpcPeers:
    """The registered replicas over gRPC. Channels are kept as long as their targets are registered."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._links: dict[str, _Link] = {}

    async def close(self) -> None:
        """Closes the channels."""
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.channel.close(None) for link in links))

    async def look(self) -> list[ReplicaState]:
        """Asks every registered replica how it is; never raises because of one."""
        peers = await self._registry.peers()
        registered = {peer.target for peer in peers}
        for target, link in list(self._links.items()):
            if target not in registered and not link.calls:  # closing would end the calls under way
                del self._links[target]
                await link.channel.close(None)
        return list(await asyncio.gather(*(self._look_at(peer) for peer in peers)))

    async def describe(self, peer: Peer, slots: Sequence[int], *, min_sequence: int = 0) -> dict[int, SlotContent]:
        """Counts and hashes what a replica holds of some slots, with the events up to `min_sequence` in.

        Raises:
            EarmarkError: It does not answer, does not hold them, or is not that far.
        """
        request = pb.DescribeSlotsRequest(slots=slots, min_sequence=min_sequence)
        async with self._calling(peer) as stub:
            response = await stub.DescribeSlots(request, timeout=DESCRIBE_SECONDS)
        return {state.slot: SlotContent(state.chunk_count, state.digest) for state in response.slots}

    async def rebuild(self, peer: Peer) -> None:
        """Has a replica build its index anew. Raises EarmarkError."""
        async with self._calling(peer) as stub:
            await stub.RebuildShard(pb.RebuildShardRequest(), timeout=REBUILD_SECONDS)

    async def _look_at(self, peer: Peer) -> ReplicaState:
        try:
            async with self._calling(peer) as stub:
                state: pb.GetShardResponse = await stub.GetShard(pb.GetShardRequest(), timeout=LOOK_SECONDS)
            held = from_bitmap(state.slots) if state.slots else frozenset[int]()
        except EarmarkError as error:
            return ReplicaState(peer, None, error.message)
        except ValueError as error:
            return ReplicaState(peer, None, f"it speaks another protocol: {error}")
        if (state.shard, state.replica) != (peer.shard, peer.replica):
            # Ports are used again: whoever was registered here is gone.
            return ReplicaState(peer, None, f"s{state.shard}r{state.replica} answers at {peer.target}")
        return ReplicaState(peer, state, held=held)

    @asynccontextmanager
    async def _calling(self, peer: Peer) -> AsyncIterator[pb_grpc.ShardServiceStub]:
        """Gives the stub for one call; what goes wrong is raised as an EarmarkError."""
        link = self._links.get(peer.target)
        if link is None:
            link = self._links[peer.target] = _Link(peer.target)
        link.calls += 1
        try:
            yield link.stub
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, peer=f"index replica {name(peer)}") from error
        finally:
            link.calls -= 1
