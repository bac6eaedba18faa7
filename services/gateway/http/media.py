"""The media itself, in ranges, never as something a browser would run."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from services.gateway import byterange
from services.gateway.http import errors, models
from services.gateway.http.validators import DAY, Validator, cache_control
from services.gateway.library import Library, Media

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The media.", "content": {"video/mp4": {}, "audio/mpeg": {}, "application/octet-stream": {}}},
    206: {"description": "The range asked for."},
    304: {"description": "The media is what `If-None-Match` or `If-Modified-Since` says."},
    416: {"model": models.Error, "description": "There is no such byte."},
}
_Original = Annotated[
    bool, Query(description="Gives the media as it was uploaded, also where a rendition is there for browsers.")
]
_Download = Annotated[bool, Query(description="As `original`, to be saved and not shown.")]


def router(*, library: Library) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    @routes.get("/videos/{video_id}/media", responses=_RESPONSES, response_class=Response, summary="Get the media")
    async def media(
        request: Request, video_id: str, original: _Original = False, download: _Download = False
    ) -> Response:
        """Gives what browsers play: the media as it was uploaded or, where they do not play that, its rendition.

        `playable` of the video says which, and whether a rendition is still being made: until then the original is
        given. One range at a time is served.
        """
        found = await library.media(video_id, original=original or download)
        return _respond(request, library, found, download=download)

    @routes.head("/videos/{video_id}/media", include_in_schema=False)
    async def media_head(
        request: Request, video_id: str, original: _Original = False, download: _Download = False
    ) -> Response:
        found = await library.media(video_id, original=original or download)
        return _respond(request, library, found, download=download)

    return routes


def _respond(request: Request, library: Library, media: Media, *, download: bool) -> Response:
    validator = Validator(media.etag, media.modified) if media.etag else None
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": "sandbox",
        # Until it is known what browsers make of it, something else may be given here a moment later.
        "Cache-Control": cache_control(request, seconds=DAY) if media.final else "no-cache",
    }
    if validator is not None:
        headers |= validator.headers
        if validator.unchanged(request):
            return Response(status_code=304, headers=headers)
    kind, inline = safe_type(media.content_type)
    disposition = "inline" if inline and not download else "attachment"
    headers["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{quote(media.filename, safe='')}"

    wanted = None
    if "if-range" not in request.headers or (validator is not None and validator.allows_range(request)):
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
    return StreamingResponse(library.media_bytes(media, start, end), status, headers, kind)


def safe_type(content_type: str) -> tuple[str, bool]:
    """Gives the type to serve media as, and whether a browser may show it.

    The type is the uploader's word: only audio and video are taken, which no browser runs as a page.
    """
    if content_type.startswith(("audio/", "video/")):
        return content_type, True
    return "application/octet-stream", False
