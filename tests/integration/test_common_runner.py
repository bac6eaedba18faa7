"""The runner, health and the error boundary, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import embedder_service_pb2 as pb
from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
from services.common.errors import InvalidArgument, Overloaded
from services.common.health import Health
from services.common.rpc import budget, connect, from_rpc
from services.common.runner import Service, serve
from services.common.settings import CommonSettings
from tests.support.ports import free_port
from tests.support.waiting import eventually

NAME = "earmark.internal.v1.EmbedderService"
STATUS = health_pb2.HealthCheckResponse


class Scripted(pb_grpc.EmbedderServiceServicer):
    """Answers as the first text says."""

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        match request.texts[0]:
            case "wrong":
                raise InvalidArgument("text is wrong; mend it", field="texts[0]")
            case "full":
                raise Overloaded("the queue is full", retry_after_seconds=0.25)
            case "bug":
                raise RuntimeError("a secret of ours")
            case "long":
                raise InvalidArgument("x" * 20_000, metadata={"given": "y" * 20_000})
            case "slow":
                await asyncio.sleep(0.3)
            case "budget":
                return pb.EmbedResponse(model_revision=str(budget(context, own=60)))
        return pb.EmbedResponse(dimension=384)


class Running:
    """A service served in this process."""

    def __init__(self) -> None:
        self.ready = True
        self.stop = asyncio.Event()
        self.port = 0
        self.health: Health | None = None
        self.order: list[str] = []
        self.break_task = asyncio.Event()
        self.cancellations_to_lose = 0

    async def build(self, settings: CommonSettings, stack: AsyncExitStack) -> Service:
        stack.callback(self.order.append, "closed")

        async def is_ready() -> bool:
            return self.ready

        async def task() -> None:
            while True:
                try:
                    await self.break_task.wait()
                    break
                except asyncio.CancelledError:
                    if self.cancellations_to_lose == 0:
                        raise
                    self.cancellations_to_lose -= 1
            raise RuntimeError("a task broke")

        async def on_stop(grace: float) -> None:
            self.order.append("stopped")

        def on_serving(port: int, health: Health) -> None:
            self.port, self.health = port, health

        return Service(
            servicers=[(pb_grpc.add_EmbedderServiceServicer_to_server, Scripted(), NAME)],
            tasks={"task": task},
            readiness={"model": is_ready},
            on_stop=[on_stop],
            on_serving=on_serving,
        )


@asynccontextmanager
async def running(
    service: Running, *, health_port: int = 0
) -> AsyncIterator[tuple[grpc.aio.Channel, asyncio.Task[int]]]:
    settings = CommonSettings(
        drain_seconds=0.05, shutdown_grace_seconds=2, grpc_reflection=True, health_port=health_port
    )
    task = asyncio.create_task(serve("test", settings, service.build, stop=service.stop))
    await eventually(lambda: service.port)
    async with connect(f"127.0.0.1:{service.port}") as channel:
        yield channel, task
    service.stop.set()
    await task


async def status(channel: grpc.aio.Channel, name: str = "") -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


async def embed(channel: grpc.aio.Channel, text: str, **options: Any) -> pb.EmbedResponse:
    request = pb.EmbedRequest(texts=[text], kind=pb.TEXT_KIND_QUERY)
    return await pb_grpc.EmbedderServiceStub(channel).Embed(request, **options)


async def test_health_follows_readiness() -> None:
    service = Running()
    service.ready = False
    async with running(service) as (channel, _):
        assert await status(channel) == STATUS.NOT_SERVING
        assert await status(channel, NAME) == STATUS.NOT_SERVING
        service.ready = True

        async def serving() -> bool:
            return await status(channel) == await status(channel, NAME) == STATUS.SERVING

        await eventually(serving)
        service.ready = False

        async def not_serving() -> bool:
            return await status(channel) == STATUS.NOT_SERVING

        await eventually(not_serving)
        assert service.health is not None
        assert service.health.failing == ("model",)


async def test_a_process_that_is_not_ready_is_alive_until_it_stops() -> None:
    service = Running()
    service.ready = False
    async with running(service) as (channel, _):
        assert await status(channel, "live") == STATUS.SERVING
        assert await status(channel) == STATUS.NOT_SERVING


async def test_probes_have_a_port_of_their_own_where_one_is_asked_for() -> None:
    service = Running()
    port = free_port()
    async with running(service, health_port=port) as (_, task), connect(f"127.0.0.1:{port}") as probe:
        await eventually(lambda: service.health is not None and service.health.serving)
        assert await status(probe) == await status(probe, "live") == STATUS.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(probe, "fine")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        service.stop.set()
        assert await task == 0


async def test_errors_carry_reason_and_nothing_internal() -> None:
    async with running(Running()) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(channel, "wrong")
        wrong = from_rpc(caught.value, peer="embedder")
        assert (wrong.code, wrong.reason, wrong.message) == (
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            "text is wrong; mend it",
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(channel, "full")
        full = from_rpc(caught.value, peer="embedder")
        assert (full.code, full.transient) == ("RESOURCE_EXHAUSTED", True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(channel, "long")
        assert from_rpc(caught.value, peer="embedder").reason == "INVALID_ARGUMENT"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(channel, "bug")
        bug = from_rpc(caught.value, peer="embedder")
        assert bug.code == "INTERNAL"
        assert "secret" not in bug.message
        assert bug.metadata["error_id"] in bug.message


async def test_a_server_gives_downstream_no_more_than_its_caller_gave() -> None:
    async with running(Running()) as (channel, _):
        left = float((await embed(channel, "budget", timeout=5)).model_revision)
        assert 0 < left < 5
        assert float((await embed(channel, "budget")).model_revision) == 60


async def test_a_call_under_way_is_answered_before_the_service_ends() -> None:
    service = Running()
    async with running(service) as (channel, task):
        await eventually(lambda: service.health is not None and service.health.serving)
        call = asyncio.ensure_future(embed(channel, "slow"))
        await asyncio.sleep(0)  # lets the call leave
        await embed(channel, "other")
        service.stop.set()
        assert (await call).dimension == 384
        assert await task == 0
    assert service.order == ["stopped", "closed"]


async def test_a_broken_task_ends_the_process() -> None:
    service = Running()
    async with running(service) as (_, task):
        service.break_task.set()
        assert await task == 1


async def test_a_task_that_lost_its_cancellation_does_not_keep_the_service_from_ending() -> None:
    service = Running()
    service.cancellations_to_lose = 1  # as asyncio.wait_for of Python 3.11 does now and then
    async with running(service) as (_, task):
        service.stop.set()
        assert await asyncio.wait_for(task, 10) == 0
    assert service.cancellations_to_lose == 0
