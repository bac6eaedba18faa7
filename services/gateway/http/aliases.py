"""The API without its version: `/search` is answered as `/v1/search`."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.versions import versioned


class Aliases:
    """ASGI middleware.

    Args:
        app: What is behind it; its routes have the version in their paths.
        routes: The same routes by their plain paths.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._heads = {getattr(route, "path", "/").split("/", 2)[1] for route in routes} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["path"][1:].split("/", 1)[0] in self._heads:
            # In place: what is outside of this one reads from the scope which route it came to.
            scope["path"] = versioned(scope["path"])
            scope["raw_path"] = versioned(scope.get("raw_path", b"").decode("latin-1")).encode("latin-1")
        await self._app(scope, receive, send)
