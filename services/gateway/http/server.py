"""Uvicorn inside the gateway's own event loop; signals belong to the runner."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from http import HTTPStatus

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.common.errors import EarmarkError, FailedPrecondition, InvalidArgument
from services.gateway.http.errors import render

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers: a cursor is the longest thing in them, with about 5,000 characters."""


class _Protocol(HttpToolsProtocol):
    """Bounds heads, which the parser itself would gather without end, and refuses in the shape of all errors."""

    _in_head = True
    _heads = 0
    _waiting_bytes = 0
    """Of a head that has not ended."""
    _told_bytes = 0
    """Of a head's line and headers, as far as the parser has them whole."""

    def data_received(self, data: bytes) -> None:
        began_in_head, heads = self._in_head, self._heads
        super().data_received(data)
        # Not where a head ends in this block: what has ended is no longer gathered.
        if began_in_head and self._in_head and self._heads == heads:
            self._waiting_bytes += len(data)
            if self._waiting_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(_head_too_large())

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._waiting_bytes, self._told_bytes = False, 0, 0
        self._heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (it says no more than that)
        """Refuses what the parser does not read; uvicorn calls it."""
        if self._told_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())
        else:
            self._refuse(InvalidArgument("this is no HTTP/1.1 request, or of no known method", reason="NOT_HTTP"))

    def _count(self, size: int) -> None:
        self._told_bytes += size
        if self._told_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # ends the parsing: `send_400_response` is called

    def _refuse(self, error: EarmarkError) -> None:
        response = render(error)
        response.headers["Connection"] = "close"
        phrase = HTTPStatus(response.status_code).phrase.encode()
        status = b"HTTP/1.1 %d %s" % (response.status_code, phrase)
        headers = [b": ".join(header) for header in response.raw_headers]
        self.transport.write(b"\r\n".join([status, *headers, b"", bytes(response.body)]))
        self.transport.close()


def _head_too_large() -> InvalidArgument:
    return InvalidArgument(f"line and headers of the request are over {MAX_HEAD_BYTES} bytes", reason="HEAD_TOO_LARGE")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an application on a socket that is bound at once, so that a taken port is found at the start.

    Attributes:
        port: Port it listens on.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise FailedPrecondition(
                f"cannot listen on {host}:{port} ({error.strerror}); set EARMARK_HTTP_PORT to a free port",
                reason="PORT_TAKEN",
            ) from error
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=_Protocol,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server = _Server(config)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serves until stopped."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()
            self._ended.set()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new connections, and gives requests under way their grace."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), grace_seconds + 1)
