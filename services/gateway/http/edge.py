"""The outermost layer: measures requests, adds security headers, and lets no exception out."""

from __future__ import annotations

import re
import time

from prometheus_client import Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.metrics import LATENCY_SECONDS
from services.gateway.http.errors import unexpected
from services.gateway.versions import plain

SECONDS = Histogram(
    "earmark_gateway_http_request_seconds",
    "Time to answer a request, to its first byte.",
    ["method", "route", "code"],
    buckets=LATENCY_SECONDS,
)
IN_FLIGHT = Gauge("earmark_gateway_http_in_flight", "Requests being answered; what the gateway is scaled by.")

_CSP = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
_METHODS = {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}


_MEDIA = re.compile(r"/videos/[^/]+/(media|thumbnail|transcript|sprites\.vtt|sprites/[^/]+)")
_EMBEDDED = (b"cross-origin-resource-policy", b"cross-origin")


class Edge:
    """ASGI middleware; plain, since Starlette's own base class costs a task and two queues a request.

    Args:
        app: What is behind it.
        embedded: Whether pages of other origins may show media: a browser says of plain `<img>` and `<video>` no origin
            to go by.
    """

    def __init__(self, app: ASGIApp, *, embedded: bool) -> None:
        self._app = app
        self._embedded = embedded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        code = 0

        async def sending(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if self._embedded and _MEDIA.fullmatch(plain(scope["path"])):
                    message["headers"] = [*message["headers"], _EMBEDDED]
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in _HEADERS if header[0] not in own)]
                # A stream's length says nothing about us, so time stops at the first byte.
                _observe(scope, code, time.perf_counter() - started)
            await send(message)

        IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            response = unexpected(error, method=scope["method"], path=scope["path"])
            if code:
                raise  # the head is out: all that is left is to break off, which the client sees
            await response(scope, receive, sending)
        finally:
            IN_FLIGHT.dec()


def _observe(scope: Scope, code: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "other")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    SECONDS.labels(method, route, code).observe(seconds)
