# ruff: noqa: N802, ARG002  (methods are named and called by the protocol)
"""gRPC: converts and delegates to the replica."""

from __future__ import annotations

from typing import Any

import grpc

from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.indexer.chunks import RemoveVideo
from services.indexer.messages import HitMessages, to_change, to_query
from services.indexer.replica import Replica

Context = grpc.aio.ServicerContext[Any, Any]


class ShardServicer(pb_grpc.ShardServiceServicer):
    """One replica of one shard (`earmark.internal.v1.ShardService`).

    Args:
        replica: The replica.
    """

    def __init__(self, *, replica: Replica) -> None:
        self._replica = replica
        self._messages = HitMessages()

    async def SearchShard(self, request: pb.SearchShardRequest, context: Context) -> pb.SearchShardResponse:
        """Searches both legs."""
        found = await self._replica.search(to_query(request))
        return self._messages.response(found, shard=self._replica.place.shard)

    async def UpsertChunks(self, request: pb.UpsertChunksRequest, context: Context) -> pb.UpsertChunksResponse:
        """Adds or replaces chunks, durably."""
        for chunk in request.chunks:
            self._replica.place.check_owned(chunk.video_id)
        await self._replica.apply_durably(to_change(request))
        return pb.UpsertChunksResponse(chunks_upserted=len(request.chunks))

    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Context) -> pb.DeleteVideoResponse:
        """Removes a video, durably."""
        applied = await self._replica.apply_durably(RemoveVideo(request.video_id))
        return pb.DeleteVideoResponse(chunks_deleted=applied.removed)

    async def GetShard(self, request: pb.GetShardRequest, context: Context) -> pb.GetShardResponse:
        """Says what the replica holds. Raises Unavailable while it has no index yet."""
        replica, shard = self._replica, self._replica.shard
        return pb.GetShardResponse(
            shard=replica.place.shard,
            replica=replica.place.replica,
            shards_total=replica.place.shards,
            chunk_count=shard.chunk_count,
            video_count=shard.video_count,
            applied_sequence=shard.applied_sequence,
            snapshot_sequence=replica.snapshot_sequence,
            ready=replica.ready,
            model_revision=shard.model_revision,
            origin=replica.origin,
        )
