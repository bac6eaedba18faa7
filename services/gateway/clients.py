"""The gateway's peers over gRPC: the embedder and the replicas of the shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import embedder_service_pb2 as embedder_pb
from earmark.internal.v1 import embedder_service_pb2_grpc as embedder_grpc
from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.internal.v1 import shard_service_pb2_grpc as shard_grpc
from services.common.rpc import connect, from_rpc
from services.gateway.coalescing import Coalescer
from services.gateway.directory import Replica
from services.gateway.looks import keep_looking
from services.gateway.search import QueryVector

STATE_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


class _Peer:
    """A channel with the health of one service behind it."""

    def __init__(self, channel: grpc.aio.Channel, target: str, service: str) -> None:
        self.target = target
        self.channel = channel
        self._service = service
        self._health = health_pb2_grpc.HealthStub(channel)

    async def ready(self, *, timeout: float) -> bool:
        """Says whether the peer serves; never raises."""
        try:
            response = await self._health.Check(health_pb2.HealthCheckRequest(service=self._service), timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == _SERVING)

    async def close(self) -> None:
        """Closes the channel."""
        await self.channel.close(None)


class GrpcEmbedder(_Peer):
    """One embedder, for queries. No retry inside the channel: another embedder is asked instead."""

    @classmethod
    def connect(cls, target: str) -> Self:
        """Opens the channel; it connects by itself, now and again."""
        return cls(connect(target), target, "earmark.internal.v1.EmbedderService")

    def __init__(self, channel: grpc.aio.Channel, target: str, service: str) -> None:
        super().__init__(channel, target, service)
        self._stub = embedder_grpc.EmbedderServiceStub(channel)  # type: ignore[no-untyped-call]  # generated

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        """Embeds `text` in at most `timeout` seconds. Raises EarmarkError."""
        request = embedder_pb.EmbedRequest(texts=[text], kind=embedder_pb.TEXT_KIND_QUERY)
        try:
            response = await self._stub.Embed(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, peer="embedder") from error
        return QueryVector(response.vectors[0], response.model_revision)


class _ShardCalls:
    """Searches of one replica as calls."""

    def __init__(self, stub: shard_grpc.ShardServiceStub) -> None:
        self._stub = stub

    async def search(self, request: shard_pb.SearchShardRequest, *, timeout: float) -> shard_pb.SearchShardResponse:
        """Runs one search. Raises EarmarkError."""
        try:
            response: shard_pb.SearchShardResponse = await self._stub.SearchShard(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, peer="index shard") from error
        return response

    async def search_many(
        self, requests: Sequence[shard_pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[shard_pb.SearchShardResponse]:
        """Runs several. Raises EarmarkError."""
        batch = shard_pb.SearchShardBatchRequest(searches=requests)
        try:
            response: shard_pb.SearchShardBatchResponse = await self._stub.SearchShardBatch(batch, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, peer="index shard") from error
        return response.responses


class GrpcShard:
    """One replica of one shard. No retry inside the channel: the fan-out asks another replica instead."""

    @classmethod
    def connect(cls, target: str) -> Self:
        """Opens the channel; it connects by itself, now and again."""
        return cls(connect(target), target)

    def __init__(self, channel: grpc.aio.Channel, target: str) -> None:
        self.target = target
        self._channel = channel
        self._stub = shard_grpc.ShardServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._calls = _ShardCalls(self._stub)
        self._searches = Coalescer(self._calls)

    async def search(self, request: shard_pb.SearchShardRequest, *, timeout: float) -> shard_pb.SearchShardResponse:
        """Searches, in at most `timeout` seconds; while the replica is busy, with others in one call.

        Raises:
            EarmarkError: It did not; `code` says why.
        """
        return await self._searches.search(request, timeout=timeout)

    async def search_many(
        self, requests: Sequence[shard_pb.SearchShardRequest], *, timeout: float
    ) -> Sequence[shard_pb.SearchShardResponse]:
        """Runs up to 256 searches in one call, in at most `timeout` seconds. Raises EarmarkError."""
        return await self._calls.search_many(requests, timeout=timeout)

    async def state(self, *, timeout: float) -> shard_pb.GetShardResponse | None:
        """Asks how it is; None when it does not answer. Never raises."""
        try:
            state: shard_pb.GetShardResponse = await self._stub.GetShard(shard_pb.GetShardRequest(), timeout=timeout)
        except grpc.aio.AioRpcError:
            return None
        if state.search_threads:
            self._searches.at_once = state.search_threads
        return state

    async def close(self) -> None:
        """Closes the channel."""
        await self._searches.close()
        await self._channel.close(None)


async def watch_replicas(replicas: Callable[[], Sequence[Replica]], *, every_seconds: float) -> None:
    """Asks every replica how it is, for ever."""

    async def look(replica: Replica) -> None:
        replica.looked_at(await replica.client.state(timeout=STATE_SECONDS))

    await keep_looking(replicas, look, every_seconds=every_seconds)
