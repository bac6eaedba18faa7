"""Health that tells the truth: NOT_SERVING until every readiness check holds, and again first thing on shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

log = structlog.get_logger()

Check = Callable[[], Awaitable[bool]]

POLL_SECONDS = 1.0
STARTING_POLL_SECONDS = 0.1
CHECK_SECONDS = 3.0
LIVE = "live"
"""Name under which health only says that the process answers. A restart mends neither a dependency nor a model that is
still being loaded, so this is what decides about one."""


class Health:
    """The gRPC health service of a process, fed by its readiness checks.

    Args:
        services: Full names of the gRPC services; they and `""` share one status.
        checks: What must hold for the services to answer, by name. Only what the calls need: a service that
            can answer without MongoDB stays SERVING when MongoDB is away.
    """

    def __init__(self, services: Collection[str], checks: Mapping[str, Check]) -> None:
        self._services = ("", *services)
        self._checks = checks
        self._servicer = HealthServicer()
        self._stopping = False
        self._registered = False
        self.failing: tuple[str, ...] = tuple(checks)
        """Checks that did not hold when last asked."""

    @property
    def stopping(self) -> bool:
        """Whether the process has been told to end."""
        return self._stopping

    @property
    def serving(self) -> bool:
        """Whether every check held when last asked."""
        return not self.failing and not self._stopping

    async def register(self, server: grpc.aio.Server) -> None:
        """Adds the health service, as NOT_SERVING: the servicer would start `""` as SERVING. `live` is SERVING."""
        if not self._registered:
            await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)
            await self._servicer.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
            self._registered = True
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def run(self) -> None:
        """Asks the checks for ever."""
        was: tuple[str, ...] | None = None
        while not self._stopping:
            held = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
            self.failing = tuple(name for name, ok in zip(self._checks, held, strict=True) if not ok)
            if self.failing != was and not self._stopping:
                serving = not self.failing
                status = (
                    health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
                )
                await self._set(status)
                log.info("health_changed", serving=serving, failing=list(self.failing))
                was = self.failing
            await asyncio.sleep(STARTING_POLL_SECONDS if self.failing else POLL_SECONDS)

    async def leave(self) -> None:
        """Says NOT_SERVING for good."""
        self._stopping = True
        await self._servicer.enter_graceful_shutdown()

    async def _ask(self, name: str, check: Check) -> bool:
        try:
            return await asyncio.wait_for(check(), timeout=CHECK_SECONDS)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  # a check that breaks does not hold, whatever broke
            log.warning("check_failed", check=name, error=repr(error))
            return False

    async def _set(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in self._services:
            await self._servicer.set(name, status)
