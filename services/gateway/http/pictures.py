"""Pictures of videos: what is to be seen at a second, and sheets of small ones for a player's timeline."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from ulid import ULID

from services.gateway.http import models
from services.gateway.http.validators import DAY, YEAR, Validator, answer, cache_control
from services.gateway.pictures import Picture, Pictures, checked_seconds

_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/jpeg": {}}},
    304: {"description": "The picture is what `If-None-Match` says."},
    404: {"model": models.Error, "description": "There is no picture (reason NO_PICTURE), or not yet, or no video."},
}
_VTT: dict[int | str, dict[str, Any]] = {
    **_JPEG,
    200: {
        "description": "WebVTT; each cue names a part of a sheet.",
        "content": {
            "text/vtt": {"example": "WEBVTT\n\n00:00:00.000 --> 00:00:10.000\nsprites/0.jpg#xywh=0,0,160,90\n"}
        },
    },
}


def router(*, pictures: Pictures) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    async def thumbnail(
        request: Request,
        video_id: str,
        t: Annotated[str, Query(description="Seconds in the media; one that stands for the whole when empty.")] = "",
        width: Annotated[
            int, Query(description="Pixels it is shown at. The smallest picture kept that is as large is given.")
        ] = 320,
    ) -> Response:
        """Gives what is to be seen at a second, as a JPEG: the last picture that was kept at or before it.

        Pictures are made when a video comes, of key frames, two seconds or more apart. A video that is older has them
        made when they are first asked for; until then it has none.
        """
        return _picture(request, await pictures.at(video_id, checked_seconds(t), width))

    async def track(request: Request, video_id: str) -> Response:
        """Gives the WebVTT track that says where on which sheet the small picture of each moment is.

        Names in it are relative to the track, and signed where the track's own URL had to be.
        """
        found = await pictures.track(video_id)
        tag = hashlib.sha256(found.body).hexdigest()[:32]
        # Signatures in it end: a day would be too long.
        caching = cache_control(request, seconds=DAY / 24)
        return answer(request, found.body, Validator(tag), media_type="text/vtt", caching=caching)

    async def sheet(
        request: Request, video_id: str, number: Annotated[int, Path(ge=0, le=10_000, description="From 0.")]
    ) -> Response:
        """Gives a sheet of small pictures, as a JPEG."""
        return _picture(request, await pictures.sheet(video_id, number))

    for path, responses, summary, handler in (
        ("thumbnail", _JPEG, "Get a picture of a moment", thumbnail),
        ("sprites.vtt", _VTT, "Get the timeline's pictures", track),
        ("sprites/{number}.jpg", _JPEG, "Get a sheet of pictures", sheet),
    ):
        routes.add_api_route(
            f"/videos/{{video_id}}/{path}", handler, responses=responses, response_class=Response, summary=summary
        )
    return routes


def _picture(request: Request, found: Picture) -> Response:
    validator = Validator(found.etag, ULID.from_str(found.made_of.upper()).datetime)
    caching = cache_control(request, seconds=YEAR, immutable=True)
    return answer(request, found.body, validator, media_type="image/jpeg", caching=caching)
