"""Whether a server answers. A probe never raises: no answer is False."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

_SECONDS = 2.0


async def nats_answers(host: str, port: int) -> bool:
    """Whether nats-server greets, with JetStream."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting


async def mongo_answers(url: str) -> bool:
    """Whether the server answers a ping."""
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(url, serverSelectionTimeoutMS=int(_SECONDS * 1000))
    try:
        await client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        await client.close()
    return True


async def grpc_serves(host: str, port: int) -> bool:
    """Whether a service says SERVING over gRPC health."""
    # A bare channel on purpose: a probe wants neither retries nor a kept connection.
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:  # noqa: TID251
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_SECONDS, wait_for_ready=False
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def http_ready(url: str) -> bool:
    """Whether a URL answers with success."""
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False
