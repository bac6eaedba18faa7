"""Index replicas that hold nothing but counts: real gRPC servers that obey the slot table when they are told to."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.errors import EarmarkError, FailedPrecondition
from services.common.registry import IndexerRegistry, Peer
from services.common.rpc import make_server
from services.common.settings import CommonSettings
from services.common.slots import SlotTable, bitmap


@dataclass
class SlotReplica(pb_grpc.ShardServiceServicer):
    """A replica that has `chunks[slot]` chunks of each slot it holds.

    Attributes:
        documents: What there is to hold, by slot; shared by all replicas, and changed by "ingest".
        chunks: What is held, by slot.
        error: What every call fails with.
        broken: Slots whose copies come out wrong.
        described: How often it was asked to count and hash.
        after_describing: Called when it was; an event that comes a moment late.
    """

    shard: int
    replica: int
    documents: dict[int, int]
    chunks: dict[int, int] = field(default_factory=dict)
    table_version: int = 0
    rebuilds: int = 0
    error: EarmarkError | None = None
    broken: set[int] = field(default_factory=set)
    described: int = 0
    after_describing: Callable[[], None] = lambda: None

    def obey(self, table: SlotTable) -> None:
        """Takes what the table gives it out of the documents, drops the rest, and catches up with every event."""
        wanted = table.held_by(self.shard)
        self.chunks = {slot: self.documents.get(slot, 0) + (slot in self.broken) for slot in wanted}
        self.table_version = table.version

    async def GetShard(self, request: pb.GetShardRequest, context: Any) -> pb.GetShardResponse:
        """Says what it holds."""
        self._fail()
        return pb.GetShardResponse(
            shard=self.shard,
            replica=self.replica,
            chunk_count=sum(self.chunks.values()),
            ready=True,
            slots=bitmap(self.chunks),
            slot_table_version=self.table_version,
            rebuilds=self.rebuilds,
        )

    async def DescribeSlots(self, request: pb.DescribeSlotsRequest, context: Any) -> pb.DescribeSlotsResponse:
        """Counts and hashes."""
        self._fail()
        self.described += 1
        if absent := [slot for slot in request.slots if slot not in self.chunks]:
            raise FailedPrecondition(f"slots {absent} are not held", reason="SLOTS_NOT_HELD")
        states = [
            pb.SlotState(slot=slot, chunk_count=self.chunks[slot], digest=_digest(slot, self.chunks[slot]))
            for slot in request.slots
        ]
        self.after_describing()
        return pb.DescribeSlotsResponse(slots=states, applied_sequence=request.min_sequence)

    async def RebuildShard(self, request: pb.RebuildShardRequest, context: Any) -> pb.RebuildShardResponse:
        """Is rebuilt at once."""
        self._fail()
        self.rebuilds += 1
        return pb.RebuildShardResponse()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def slot_replicas(
    registry: IndexerRegistry, places: Sequence[tuple[int, int]], documents: dict[int, int]
) -> AsyncIterator[list[SlotReplica]]:
    """Replicas at these places (shard, replica), registered."""
    async with AsyncExitStack() as stack:
        running = []
        for shard, replica in places:
            fake = SlotReplica(shard, replica, documents)
            server = make_server(CommonSettings())
            pb_grpc.add_ShardServiceServicer_to_server(fake, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            await registry.announce(Peer(shard, replica, f"127.0.0.1:{port}"))
            running.append(fake)
        yield running


def _digest(slot: int, count: int) -> bytes:
    return hashlib.sha256(f"{slot} {count}".encode()).digest()
