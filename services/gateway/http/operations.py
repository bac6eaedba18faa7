"""The route that shows operators the mesh at a glance."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from services.gateway.http import models, operations_models
from services.gateway.http.respond import json
from services.gateway.operations.overview import Operations


def router(*, operations: Operations) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["operations"], responses=models.ERRORS)

    @routes.get("/operations", responses={200: {"model": operations_models.Operations}}, summary="The mesh at a glance")
    async def overview() -> Response:
        """Gives index, queues, workers, speed, and what people ask; a part that cannot be told is null, and named.

        Latency, queries and caches are those of the gateway that answers, since it started.
        """
        return json(await operations.overview())

    return routes
