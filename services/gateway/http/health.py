"""Whether the gateway lives, whether it can answer, and its numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from services.gateway.access.caller import Scope, may
from services.gateway.http import models
from services.gateway.http.respond import json

CHECK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class State:
    """What one dependency says."""

    ready: bool
    detail: str = ""


Check = Callable[[], Awaitable[State]]


def router(*, checks: Callable[[], Mapping[str, Check]], stopping: Callable[[], bool]) -> APIRouter:
    """Makes the routes.

    Args:
        checks: Gives what `/readyz` asks at this moment, by name.
        stopping: Whether the gateway is on its way out.
    """
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz", summary="Does the process live?")
    async def healthz() -> Response:
        """Answers while the process lives; looks at nothing else, so that an outage beneath restarts nobody."""
        return json({"status": "ok"})

    @routes.get(
        "/readyz",
        responses={200: {"model": models.Readiness}, 503: {"model": models.Readiness}},
        summary="Can it answer?",
    )
    async def readyz() -> Response:
        """Says what each dependency says, to an administrator; 503 while one does not answer or the gateway stops."""
        asked = checks()
        states = await asyncio.gather(*(_ask(check) for check in asked.values()))
        ready = all(state.ready for state in states) and not stopping()
        shown = {
            name: {"ready": state.ready, "detail": state.detail} for name, state in zip(asked, states, strict=True)
        }
        # What the mesh is made of is for those who run it.
        checks_shown = shown if may(Scope.ADMIN) else {}
        return json({"ready": ready, "stopping": stopping(), "checks": checks_shown}, 200 if ready else 503)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        """Gives the metrics in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _ask(check: Check) -> State:
    try:
        return await asyncio.wait_for(check(), CHECK_SECONDS)
    except TimeoutError:
        return State(ready=False, detail=f"no answer within {CHECK_SECONDS:g} s")
