"""The media itself, in ranges, never as something a browser would run."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from services.gateway import byterange
from services.gateway.http import errors, models
from services.gateway.library import Library, Media

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The media.", "content": {"video/mp4": {}, "audio/mpeg": {}, "application/octet-stream": {}}},
    206: {"description": "The range asked for."},
    304: {"description": "The media is what `If-None-Match` says."},
    416: {"model": models.Error, "description": "There is no such byte."},
}


def router(*, library: Library) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    @routes.get("/videos/{video_id}/media", responses=_RESPONSES, summary="Get the media")
    async def media(request: Request, video_id: str, download: bool = Query(default=False)) -> Response:
        """Gives the media as it was uploaded; one range at a time is served."""
        return _respond(request, library, await library.media(video_id), download=download)

    @routes.head("/videos/{video_id}/media", include_in_schema=False)
    async def media_head(request: Request, video_id: str, download: bool = Query(default=False)) -> Response:
        return _respond(request, library, await library.media(video_id), download=download)

    return routes


def _respond(request: Request, library: Library, media: Media, *, download: bool) -> Response:
    source = media.video.source
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600", "Content-Security-Policy": "sandbox"}
    etag = f'"{source.sha256}"' if source else ""
    if etag:
        headers["ETag"] = etag
        if _names(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
    kind, inline = safe_type(source.content_type if source else "")
    name = (source.filename if source else "") or media.video.video_id
    disposition = "inline" if inline and not download else "attachment"
    headers["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{quote(name, safe='')}"

    if_range = request.headers.get("if-range")
    wanted = None
    if if_range is None or if_range == etag:
        try:
            wanted = byterange.parse(request.headers.get("range", ""), media.size)
        except byterange.RangeNotSatisfiable as error:
            response = errors.render(error)
            response.headers["Content-Range"] = f"bytes */{media.size}"
            return response
    start, end = wanted or (0, media.size)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{media.size}"
    headers["Content-Length"] = str(end - start)
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(library.media_bytes(media.video.video_id, start, end), status, headers, kind)


def safe_type(content_type: str) -> tuple[str, bool]:
    """Gives the type to serve media as, and whether a browser may show it.

    The type is the uploader's word: only audio and video are taken, which no browser runs as a page.
    """
    if content_type.startswith(("audio/", "video/")):
        return content_type, True
    return "application/octet-stream", False


def _names(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in (part.strip().removeprefix("W/") for part in header.split(","))
