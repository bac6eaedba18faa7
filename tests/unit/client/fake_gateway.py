"""A gateway of canned answers, for the sync and the async client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

Handler = Callable[[httpx.Request, bytes], httpx.Response]


def video(video_id: str = "vid_1", status: str = "ready", **more: Any) -> dict[str, Any]:
    """A video as the gateway describes it."""
    return {
        "video_id": video_id,
        "title": "Tides",
        "url": None,
        "status": status,
        "duration": 61.5,
        "source": {"filename": "tides.mp4", "content_type": "video/mp4", "bytes": 10, "sha256": "ab"},
        "metadata": {
            "uploaded_at": "2025-01-02T03:04:05Z",
            "processed_at": None,
            "language": "en",
            "asr_model": None,
            "embedding_model": None,
            "speaker_count": None,
        },
        "progress": {
            "slices_known": 2,
            "slicing_done": True,
            "slices_done": 1,
            "slices_failed": 0,
            "seconds_searchable": 30.0,
            "seconds_known": 61.5,
            "fraction": 0.5,
        },
        "error": None,
        "warnings": [],
        "revision": 3,
        "links": {"self": f"/v1/videos/{video_id}"},
        **more,
    }


def status(state: str, *, video_id: str = "vid_1", **more: Any) -> dict[str, Any]:
    """A status as the gateway describes it."""
    whole = video(video_id, state)
    kept = ("video_id", "status", "progress", "error", "warnings", "duration", "links")
    return {**{name: whole[name] for name in kept}, "slices": [], **more}


def refusal(code: int, name: str, message: str, *details: dict[str, Any]) -> httpx.Response:
    """A refused request in the gateway's form."""
    return httpx.Response(
        code, json={"error": {"code": code, "status": name, "message": message, "details": list(details)}}
    )


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces, after which the connection may break."""

    def __init__(self, *pieces: str, breaks: bool = False) -> None:
        self._pieces = pieces
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield piece.encode()
        if self._breaks:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class FakeGateway(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that reads the whole request and answers by `handler`; `requests` are those it saw."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(body)
        return self._handler(request, body)
