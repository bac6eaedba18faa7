"""The route that makes videos of transcripts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.common.errors import InvalidArgument
from services.gateway import views
from services.gateway.http import models
from services.gateway.http.respond import json
from services.gateway.imports import Imports
from services.gateway.versions import versioned

# By hand: a body of 64 MiB is read as it comes and taken apart in a thread, not validated by the framework.
_SEGMENT: dict[str, Any] = {
    "type": "object",
    "required": ["start", "end", "text"],
    "additionalProperties": False,
    "properties": {
        "start": {"type": "number", "minimum": 0, "description": "Seconds."},
        "end": {"type": "number", "maximum": 86400, "description": "Seconds, not before `start`."},
        "text": {"type": "string", "maxLength": 10000},
        "speaker": {"type": "string", "maxLength": 100, "description": "Who speaks; empty when unknown."},
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["title", "segments"],
                    "additionalProperties": False,
                    "properties": {
                        "title": {"type": "string", "maxLength": 300},
                        "segments": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 100000,
                            "items": _SEGMENT,
                            "description": "In order of their starts; 5 s of disorder are mended.",
                        },
                        "url": {"type": "string", "description": "Where the video can be seen; it is not fetched."},
                        "language": {"type": "string", "description": "ISO 639-1.", "example": "en"},
                        "duration": {"type": "number", "description": "Seconds; the last segment's end stands in."},
                        "collection": {"type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9._-]*$"},
                        "tags": {"type": "array", "maxItems": 32, "items": {"type": "string", "maxLength": 64}},
                        "external_id": {
                            "type": "string",
                            "maxLength": 256,
                            "description": "Your own name for it: imported again, it is there already.",
                        },
                    },
                },
                "example": {
                    "title": "How bread rises",
                    "language": "en",
                    "segments": [{"start": 0.0, "end": 4.2, "text": "The yeast eats the sugar.", "speaker": "Ann"}],
                },
            }
        },
    }
}


def router(*, imports: Imports) -> APIRouter:
    """Makes the route."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    @routes.post(
        "/videos/import",
        status_code=202,
        responses={
            202: {"model": models.Video},
            200: {"model": models.Video, "description": "One with this external_id is there already."},
        },
        openapi_extra=_BODY,
        summary="Make a video of a transcript",
    )
    async def import_video(request: Request) -> Response:
        """Creates a video without media from a transcript that exists already; it is embedded behind the answer."""
        kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        if kind != "application/json":  # a page of another site cannot send this one
            raise InvalidArgument("send it as JSON, with Content-Type: application/json", field="content-type")
        if (announced := request.headers.get("content-length", "")).isdigit():
            imports.check_size(int(announced))
        imported = await imports.from_stream(request.stream())
        video = imported.video
        status = 200 if imported.already_there else 202
        return json(views.video(video), status, {"Location": versioned(f"/videos/{video.video_id}")})

    return routes
