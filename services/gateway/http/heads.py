"""`HEAD` for all that answers `GET`, as RFC 9110 asks."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.versions import plain

_ENDLESS = "/events"
"""A stream: there is no answer whose head could be told alone."""


def answers_head(methods: set[str], path: str) -> bool:
    """Says whether a path that answers these methods answers `HEAD` too."""
    return "GET" in methods and not path.endswith(_ENDLESS)


class Heads:
    """ASGI middleware: asks for the whole answer where a route knows only `GET`; the server sends its head alone.

    Args:
        app: What is behind it.
        routes: What there is, by plain paths.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._known(scope):
            await self._app(scope, receive, send)
            return
        # A copy: the server goes by its own that no body is to be sent.
        asked = {**scope, "method": "GET"}

        async def sending(message: Message) -> None:
            scope["route"] = asked.get("route")  # what is outside of this one reads which route it came to
            await send(message)

        await self._app(asked, receive, sending)

    def _known(self, scope: Scope) -> bool:
        """Whether a route answers HEAD itself, or none could."""
        plainly = {**scope, "path": plain(scope["path"])}
        found: set[str] = set()
        for route in self._routes:
            match, _ = route.matches(plainly)
            if match is Match.FULL:
                return True
            if match is Match.PARTIAL:
                found |= getattr(route, "methods", None) or set()
        return not answers_head(found, plainly["path"])
