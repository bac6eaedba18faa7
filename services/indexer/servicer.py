# ruff: noqa: N802, ARG002  (methods are named and called by the protocol)
"""gRPC: converts and delegates to the replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.errors import DeadlineExceeded, InvalidArgument
from services.common.ids import SLOTS
from services.common.rpc import budget
from services.indexer import messages
from services.indexer.chunks import Found, RemoveVideo
from services.indexer.replica import Replica

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_BYTES = 4096
_OWN_SECONDS = 10.0
_LARGEST_BATCH_BYTES = 12 * 2**20  # a gRPC message here has at most 16 MiB


class ShardServicer(pb_grpc.ShardServiceServicer):
    """One replica of one shard (`earmark.internal.v1.ShardService`).

    Args:
        replica: The replica.
    """

    def __init__(self, *, replica: Replica) -> None:
        self._replica = replica

    async def SearchShard(self, request: pb.SearchShardRequest, context: Context) -> pb.SearchShardResponse:
        """Searches both legs."""
        query = messages.to_query(request)
        await self._wait_for(request.min_sequence, context)
        version = self._replica.version  # before the search: what changes meanwhile makes it another
        if request.unless_changed_since:
            return messages.check_response(self._replica, request, query, version=version)
        found = await self._replica.search([query])
        return self._response(found[0], request, version)

    async def SearchShardBatch(
        self, request: pb.SearchShardBatchRequest, context: Context
    ) -> pb.SearchShardBatchResponse:
        """Searches both legs for many queries."""
        queries = messages.to_queries(request)
        await self._wait_for(max(search.min_sequence for search in request.searches), context)
        version = self._replica.version
        found = await self._replica.search(queries)
        responses = [self._response(one, search, version) for one, search in zip(found, request.searches, strict=True)]
        response = pb.SearchShardBatchResponse(responses=responses)
        if response.ByteSize() > _LARGEST_BATCH_BYTES:
            message = f"the answers have {response.ByteSize():,} bytes together; ask fewer at once, or with a smaller k"
            raise InvalidArgument(message, field="searches")
        return response

    def _response(self, found: Found, request: pb.SearchShardRequest, version: str) -> pb.SearchShardResponse:
        return messages.search_response(found, self._replica.place, request, lag=self._replica.lag, version=version)

    async def UpsertChunks(self, request: pb.UpsertChunksRequest, context: Context) -> pb.UpsertChunksResponse:
        """Adds or replaces chunks, durably."""
        for chunk in request.chunks:
            self._replica.check_owned(chunk.video_id)
        await self._replica.apply_durably(messages.to_change(request))
        return pb.UpsertChunksResponse(chunks_upserted=len(request.chunks))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Context) -> pb.DeleteVideoResponse:
        """Removes a video, durably."""
        applied = await self._replica.apply_durably(RemoveVideo(request.video_id))
        return pb.DeleteVideoResponse(chunks_deleted=applied.removed)

    async def GetShard(self, request: pb.GetShardRequest, context: Context) -> pb.GetShardResponse:
        """Says what the replica holds. Raises Unavailable while it has no index yet."""
        return messages.state_response(self._replica, resident_bytes=_resident_bytes())

    async def DescribeSlots(self, request: pb.DescribeSlotsRequest, context: Context) -> pb.DescribeSlotsResponse:
        """Counts and hashes slots. Raises DeadlineExceeded when the replica does not get that far in time."""
        if any(not 0 <= slot < SLOTS for slot in request.slots):
            raise InvalidArgument(f"slots go from 0 to {SLOTS - 1}", field="slots")
        if not await self._replica.reached(request.min_sequence, timeout=budget(context, own=_OWN_SECONDS) / 2):
            raise DeadlineExceeded(f"the replica has not applied the events up to {request.min_sequence} yet")
        digests, sequence = await self._replica.digests(list(request.slots))
        states = [pb.SlotState(slot=one.slot, chunk_count=one.chunks, digest=one.digest) for one in digests]
        return pb.DescribeSlotsResponse(slots=states, applied_sequence=sequence)

    async def RebuildShard(self, request: pb.RebuildShardRequest, context: Context) -> pb.RebuildShardResponse:
        """Has the index built anew beside the present one."""
        self._replica.rebuild_asked = True
        return pb.RebuildShardResponse()

    async def _wait_for(self, sequence: int, context: Context) -> None:
        if sequence:
            await self._replica.reached(sequence, timeout=budget(context, own=_OWN_SECONDS) / 2)


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):  # not Linux
        return 0
