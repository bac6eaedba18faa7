"""Routes of uploads past the gateway, straight to S3."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.common.pending_uploads import PendingUpload, StoredPart
from services.gateway import digests, views
from services.gateway.attributes import checked_collection, checked_speech, checked_tags, checked_title
from services.gateway.http import models
from services.gateway.http.respond import json
from services.gateway.http.tus import checked_duplicate
from services.gateway.idempotency import checked_key
from services.gateway.library import Library
from services.gateway.presigned import Presigned, part_sizes
from services.gateway.uploads import Details
from services.gateway.versions import versioned

UPLOAD_ID = "upl_6f1c8b0e2d9a4c7fb35e10a2946d7e83"


class _Shape(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class NewUpload(_Shape):
    """A file that is to be put into S3 in parts."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"filename": "talk.mp4", "bytes": 104857600, "title": "How bread rises"}]},
    )

    bytes: int = Field(ge=1, le=2**50)
    """Size of the file."""
    filename: str = Field(default="", max_length=1024)
    content_type: str = Field(default="", max_length=200)
    title: str = ""
    """At most 300 characters; the file name stands in when empty."""
    collection: str = ""
    tags: list[str] = Field(default=[], max_length=100)
    language: str = ""
    prompt: str = ""
    hotwords: str = ""
    task: str = ""
    sha256: str = ""
    """Of the file, as hex or base64; when it is complete, it must have it."""
    duplicate: str = ""
    """allow to have a video of its own also where one has the same bytes."""


class Part(_Shape):
    """A part that S3 has."""

    number: int
    bytes: int


class Upload(_Shape):
    """An upload in parts."""

    upload_id: str = Field(examples=[UPLOAD_ID])
    bytes: int
    part_bytes: int
    """Of each part but the last."""
    parts_total: int
    parts: list[Part]
    """Those that S3 has."""
    state: str = Field(examples=["open"])
    """open, or done."""
    video_id: str | None = Field(examples=[None])
    """The video it came to."""
    existing: bool
    """Whether that was there before."""
    expires_at: dt.datetime


class PartNumbers(_Shape):
    """Which parts are to be sent."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"parts": [1, 2, 3]}]}
    )

    parts: list[int] = Field(max_length=1000)
    """Their numbers, from 1."""


class SignedPart(_Shape):
    """Where a part goes."""

    number: int
    url: str = Field(examples=["https://s3.example.org/media/videos/…?partNumber=1&uploadId=…&X-Amz-Signature=…"])
    """PUT the bytes of the part there, without further headers."""
    bytes: int


class SignedParts(_Shape):
    """URLs of parts."""

    parts: list[SignedPart]
    expires_at: dt.datetime


Key = Annotated[str, Header(alias="Idempotency-Key", description="Sent again, it gives the upload that was begun.")]


def router(*, presigned: Presigned, library: Library) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["uploads"], responses=models.ERRORS)

    @routes.post("/uploads", status_code=201, responses={201: {"model": Upload}}, summary="Begin an upload to S3")
    async def begin(new: NewUpload, key: Key = "") -> Response:
        """Begins an upload whose parts you PUT into S3 yourself; 409 where the object store is a folder."""
        details = Details(
            title=checked_title(new.title),
            filename=new.filename,
            content_type=new.content_type,
            collection=checked_collection(new.collection),
            tags=checked_tags(new.tags),
            speech=checked_speech(language=new.language, prompt=new.prompt, hotwords=new.hotwords, task=new.task),
            sha256=digests.checked_sha256(new.sha256),
            duplicate=checked_duplicate(new.duplicate),
        )
        upload = await presigned.begin(details, length=new.bytes, key=checked_key(key))
        return json(_shown(upload, []), 201, {"Location": versioned(f"/uploads/{upload.upload_id}")})

    @routes.get("/uploads/{upload_id}", responses={200: {"model": Upload}}, summary="Which parts S3 has")
    async def look(upload_id: str) -> Response:
        """Gives an upload with the parts that are there: go on with the others."""
        upload, parts = await presigned.look(upload_id)
        return json(_shown(upload, parts))

    @routes.post("/uploads/{upload_id}/parts", responses={200: {"model": SignedParts}}, summary="Get URLs for parts")
    async def sign(upload_id: str, wanted: PartNumbers) -> Response:
        """Signs a URL for each part asked for; ask again when they are over."""
        parts, until = await presigned.sign(upload_id, wanted.parts)
        shown = [{"number": part.number, "url": part.url, "bytes": part.bytes} for part in parts]
        return json({"parts": shown, "expires_at": until})

    @routes.post(
        "/uploads/{upload_id}/complete",
        status_code=202,
        responses={
            202: {"model": models.Video},
            200: {"model": models.Video, "description": "A video with the same bytes is there already."},
        },
        summary="Complete an upload to S3",
    )
    async def complete(upload_id: str) -> Response:
        """Puts the parts together, compares size and checksum, and makes a video of them; again it is the same."""
        upload = await presigned.complete(upload_id)
        video = await library.get(upload.result)
        headers = {"Location": versioned(f"/videos/{video.video_id}")}
        if upload.existing:
            headers["Earmark-Existing"] = "true"
        return json(views.video(video), 200 if upload.existing else 202, headers)

    @routes.delete("/uploads/{upload_id}", status_code=204, summary="Give an upload to S3 up")
    async def drop(upload_id: str) -> Response:
        """Removes an upload with its parts; a video that it has become stays."""
        await presigned.drop(upload_id)
        return Response(status_code=204)

    return routes


def _shown(upload: PendingUpload, parts: list[StoredPart]) -> views.Json:
    sizes = part_sizes(upload)
    return {
        "upload_id": upload.upload_id,
        "bytes": upload.length,
        "part_bytes": sizes[0],
        "parts_total": len(sizes),
        "parts": [{"number": part.number, "bytes": part.bytes} for part in parts],
        "state": upload.state.value,
        "video_id": upload.result or None,
        "existing": upload.existing,
        "expires_at": upload.expires_at,
    }
