"""Routes by which videos come in whole: in a form, or by URL."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from services.gateway import views
from services.gateway.attributes import checked_speech
from services.gateway.http import models
from services.gateway.http.multipart import UploadForm
from services.gateway.http.respond import json
from services.gateway.idempotency import checked_key
from services.gateway.uploads import MAX_CAPTIONS_BYTES, Taken, Uploads
from services.gateway.versions import versioned

# Boundaries, part heads and captions, beyond the file itself.
_FORM_BYTES = 64 * 1024 + MAX_CAPTIONS_BYTES

_UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "Audio or video, any container."},
                        "captions": {
                            "type": "string",
                            "format": "binary",
                            "description": "A transcript there is already, as WebVTT, SubRip or JSON of at most 8 MiB; "
                            "then nothing is heard.",
                        },
                        "title": {
                            "type": "string",
                            "description": "At most 300 characters; the file name stands in when empty.",
                        },
                        "collection": {
                            "type": "string",
                            "description": "At most 64 letters A-Z a-z, digits, dots, underscores and dashes.",
                        },
                        "tag": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "Once for each tag; at most 32 of at most 64 characters.",
                        },
                        "language": {
                            "type": "string",
                            "description": "ISO 639-1 code of the language spoken, one that the recognizer knows; "
                            "detected when empty.",
                        },
                        "prompt": {
                            "type": "string",
                            "description": "Text as it might stand before the speech: names and spelling in it are "
                            "kept to. At most 600 characters.",
                        },
                        "hotwords": {
                            "type": "string",
                            "description": "Words to be expected, such as names and products; at most 600 characters.",
                        },
                        "task": {
                            "type": "string",
                            "enum": ["transcribe", "translate"],
                            "description": "translate gives the text in English, whatever is spoken.",
                        },
                        "sha256": {
                            "type": "string",
                            "description": "Of the file, as hex or base64: another file is refused.",
                        },
                        "duplicate": {
                            "type": "string",
                            "enum": ["allow"],
                            "description": "Makes it a video of its own also where one has the same bytes.",
                        },
                    },
                },
                "example": {"file": "the file's bytes", "title": "How bread rises", "tag": ["bread", "baking"]},
            }
        },
    }
}
_CREATED: dict[int | str, dict[str, Any]] = {
    202: {"model": models.Video, "description": "It is stored, and will be processed."},
    200: {"model": models.Video, "description": "It was there already; `Earmark-Existing: true` says so too."},
}
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="Up to 256 characters of your own: sent again, it is done once. With another request, 422.",
    ),
]
ContentDigest = Annotated[str, Header(description="SHA-256 or SHA-512 of the body (RFC 9530); another body is 422.")]


def router(*, uploads: Uploads) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["uploads"], responses=models.ERRORS)

    @routes.post(
        "/videos/upload",
        status_code=202,
        responses=_CREATED,
        openapi_extra=_UPLOAD_BODY,
        summary="Upload a video",
    )
    async def upload(request: Request, key: IdempotencyKey = "", content_digest: ContentDigest = "") -> Response:  # noqa: ARG001  (read with the body)
        """Stores the file as it arrives and returns when it is stored; processing goes on behind it.

        Where a video of the collection has the same bytes, that one is given (200), unless `duplicate` says otherwise
        or captions come along.

        `curl -F title="My talk" -F tag=bread -F tag=baking -F file=@talk.mp4 http://localhost:8080/v1/videos/upload`
        """
        announced = 0
        if (length := request.headers.get("content-length", "")).isdigit():
            announced = int(length) - _FORM_BYTES
            uploads.check_size(announced)
        form = UploadForm(request)
        taken = await uploads.from_stream(
            form.blocks(), form.details, announced=announced, key=checked_key(key), check=form.check
        )
        return _accepted(taken)

    @routes.post("/videos", status_code=202, responses=_CREATED, summary="Add a video by URL")
    async def add(new: models.NewVideoFromUrl, key: IdempotencyKey = "") -> Response:
        """Accepts an http, https or s3 URL; it is fetched behind the answer."""
        speech = checked_speech(language=new.language, prompt=new.prompt, hotwords=new.hotwords, task=new.task)
        taken = await uploads.from_url(
            new.url,
            title=new.title,
            collection=new.collection,
            tags=new.tags,
            speech=speech,
            key=checked_key(key),
        )
        return _accepted(taken)

    return routes


def _accepted(taken: Taken) -> Response:
    headers = {"Location": versioned(f"/videos/{taken.video.video_id}")}
    if taken.existing:
        headers["Earmark-Existing"] = "true"
    return json(views.video(taken.video), 200 if taken.existing else 202, headers)
