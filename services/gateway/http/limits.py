"""A bound on bodies that are read whole; media and transcripts are read as they come and bounded where they are."""

from __future__ import annotations

import re

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.errors import InvalidArgument
from services.gateway.http.errors import render

_STREAMED = re.compile(r"(/v1)?(/videos/upload|/videos/import|/videos/[^/]+/transcript|/files(/.*)?)")


class BodyLimit:
    """ASGI middleware.

    Args:
        app: What is behind it.
        max_bytes: Size limit of a body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or _STREAMED.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await render(self._too_large())(scope, receive, send)
            return
        total = 0

        async def receiving() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._max_bytes:
                return {"type": "http.disconnect"}  # what reads it stops
            return message

        async def sending(message: Message) -> None:
            # Whatever it makes of half a body is not the answer.
            if total <= self._max_bytes:
                await send(message)

        try:
            await self._app(scope, receiving, sending)
        except ClientDisconnect:
            if total <= self._max_bytes:
                raise
        if total > self._max_bytes:
            await render(self._too_large())(scope, receive, send)

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(
            f"the body is over {self._max_bytes} bytes",
            reason="BODY_TOO_LARGE",
            field="body",
            metadata={"max_bytes": str(self._max_bytes)},
        )
