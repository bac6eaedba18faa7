"""Runs a service: settings, logs, metrics, health, supervision, signals and the order of shutdown, in one place."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import grpc
import structlog
import uvloop
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from services.common import logs, metrics, rpc, tls, tracing
from services.common.errors import EarmarkError
from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer
from services.common.events.roll_call import Present
from services.common.health import Check, Health
from services.common.rpc import make_server
from services.common.settings import CommonSettings, read
from services.common.tasks import cancel

log = structlog.get_logger()

S = TypeVar("S", bound=CommonSettings)

Servicer = tuple[Callable[[Any, Any], None], Any, str]


@dataclass(kw_only=True)
class Service:
    """What `build` gives: everything that runs.

    Attributes:
        servicers: (`add_…_to_server`, the servicer, full name of the gRPC service).
        consumers: Event consumers; the first to stop.
        tasks: Long-running work. One that ends or raises ends the process.
        readiness: What must hold for calls to be answered, by name.
        interceptors: What stands before the servicers, such as who may call.
        on_stop: Called with the grace in seconds after the consumers have stopped, before the tasks are cancelled.
        on_serving: Called with the bound gRPC port and the health when the server listens.
    """

    servicers: list[Servicer]
    consumers: list[Consumer] = field(default_factory=list)
    tasks: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    readiness: dict[str, Check] = field(default_factory=dict)
    interceptors: list[grpc.aio.ServerInterceptor] = field(default_factory=list)  # type: ignore[type-arg]
    on_stop: list[Callable[[float], Awaitable[None]]] = field(default_factory=list)
    on_serving: Callable[[int, Health], None] | None = None
    bus: EventBus | None = None
    """Where it answers roll calls; None where it does not."""


Build = Callable[[S, AsyncExitStack], Awaitable[Service]]


def run(name: str, settings_class: type[S], build: Build[S]) -> NoReturn:
    """Runs a service until SIGTERM or SIGINT; exits 0 after a clean stop, 1 when it broke, 2 for wrong settings."""
    try:
        settings = read(settings_class)
    except ValidationError as error:
        for problem in error.errors():
            where = "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{name}: setting EARMARK_{where}: {problem['msg'].removeprefix('Value error, ')}\n")
        sys.exit(2)
    logs.configure(name, level=settings.log_level, fmt=settings.log_format)
    tracing.configure(name, settings.otlp_endpoint)
    sys.exit(uvloop.run(serve(name, settings, build)))


async def serve(name: str, settings: S, build: Build[S], *, stop: asyncio.Event | None = None) -> int:
    """Runs a service until a signal, or until `stop` is set, and gives the exit code."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with AsyncExitStack() as stack:
            certificates = tls.Certificates(settings.tls_dir) if settings.tls_dir else None
            rpc.secure(certificates)
            metrics.serve(settings.metrics_host, settings.metrics_port, stack)
            service = await _unless(stop, build(settings, stack))
            if service is None:
                return 0
            return await _serve(name, settings, service, stop, certificates if settings.tls_serve else None)
    except EarmarkError as error:
        log.error("service_cannot_run", service=name, reason=error.reason, message=error.message)
        return 1
    except Exception:
        log.exception("service_broke", service=name)
        return 1


async def _serve(
    name: str,
    settings: CommonSettings,
    service: Service,
    stop: asyncio.Event,
    certificates: tls.Certificates | None,
) -> int:
    names = [full_name for _, _, full_name in service.servicers]
    server = make_server(settings, service.interceptors)
    for add, servicer, _ in service.servicers:
        add(servicer, server)
    health = Health(names, service.readiness)
    await health.register(server)
    if settings.grpc_reflection:
        reflection.enable_server_reflection([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], server)
    address = f"{settings.grpc_host}:{settings.grpc_port}"
    if certificates is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, tls.server_credentials(certificates))
    await server.start()
    probed = await _serve_health(settings, health)
    log.info("service_started", name=name, grpc_port=port)
    if service.on_serving is not None:
        service.on_serving(port, health)

    work = {**service.tasks, "health": health.run}
    if service.bus is not None:
        work["roll-call"] = Present(service.bus, name, service.consumers).answer
    tasks = {
        asyncio.create_task(consumer.run(), name=f"consumer-{consumer.name}") for consumer in service.consumers
    } | {asyncio.create_task(_task(one), name=title) for title, one in work.items()}
    stopped = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
    broken = [task for task in done if task is not stopped]
    for task in broken:
        log.error("task_ended", task=task.get_name(), exc_info=None if task.cancelled() else task.exception())
    stopped.cancel()

    log.info("service_stopping", name=name)
    await health.leave()
    await asyncio.sleep(settings.drain_seconds)
    grace = settings.shutdown_grace_seconds
    await asyncio.gather(*(consumer.stop(grace_seconds=grace) for consumer in service.consumers))
    await server.stop(grace)
    if probed is not None:
        await probed.stop(0)
    for step in service.on_stop:
        await step(grace)
    await cancel(tasks)
    log.info("service_stopped", name=name)
    return 1 if broken else 0


async def _serve_health(settings: CommonSettings, health: Health) -> grpc.aio.Server | None:
    """Starts the server that only answers probes, where one is asked for."""
    if settings.health_port == 0:
        return None
    server = make_server(settings)
    await health.register(server)
    server.add_insecure_port(f"{settings.grpc_host}:{settings.health_port}")
    await server.start()
    return server


async def _task(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _unless(stop: asyncio.Event, work: Awaitable[Service]) -> Service | None:
    """Waits for `work`, unless told to stop meanwhile."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        await cancel([task])
        return None
    finally:
        stopped.cancel()
