"""Routes of videos: in, out, and where they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from services.common.videos.model import Video
from services.gateway import views
from services.gateway.attributes import checked_speech
from services.gateway.http import models
from services.gateway.http.multipart import UploadForm
from services.gateway.http.respond import NO_STORE, json
from services.gateway.library import Library
from services.gateway.time_left import TimeLeft
from services.gateway.uploads import MAX_CAPTIONS_BYTES, Uploads
from services.gateway.versions import versioned
from services.gateway.watch import Watcher

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
                    },
                }
            }
        },
    }
}
_EVENTS_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`event: status` with a VideoState as data, now and after every change; `event: end` at last.",
        "content": {
            "text/event-stream": {"example": 'event: status\ndata: {"video_id": "…", "status": "processing"}\n\n'}
        },
    }
}


def router(*, library: Library, uploads: Uploads, watcher: Watcher, time_left: TimeLeft) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    async def shown(video: Video) -> views.Json:
        return views.video(video, await time_left.of(video))

    @routes.post(
        "/videos/upload",
        status_code=202,
        responses={202: {"model": models.Video}},
        openapi_extra=_UPLOAD_BODY,
        summary="Upload a video",
    )
    async def upload(request: Request) -> Response:
        """Stores the file as it arrives and returns when it is stored; processing goes on behind it.

        `curl -F title="My talk" -F tag=bread -F tag=baking -F file=@talk.mp4 http://localhost:8080/v1/videos/upload`
        """
        announced = 0
        if (length := request.headers.get("content-length", "")).isdigit():
            announced = int(length) - _FORM_BYTES
            uploads.check_size(announced)
        form = UploadForm(request)
        return _accepted(await uploads.from_stream(form.blocks(), form.details, announced=announced))

    @routes.post("/videos", status_code=202, responses={202: {"model": models.Video}}, summary="Add a video by URL")
    async def add(new: models.NewVideoFromUrl) -> Response:
        """Accepts an http, https or s3 URL; it is fetched behind the answer."""
        speech = checked_speech(language=new.language, prompt=new.prompt, hotwords=new.hotwords, task=new.task)
        video = await uploads.from_url(
            new.url, title=new.title, collection=new.collection, tags=new.tags, speech=speech
        )
        return _accepted(video)

    @routes.get("/videos", responses={200: {"model": models.VideoList}}, summary="List videos")
    async def list_videos(
        limit: Annotated[int, Query(description="Above 200 is taken as 200, below 1 as 50.")] = 50,
        cursor: Annotated[str, Query(description="`next_cursor` of the page before.")] = "",
        status: Annotated[str, Query(description="uploaded, processing, ready, failed or deleting.")] = "",
    ) -> Response:
        """Gives videos, newest first."""
        page = await library.list(limit=limit, cursor=cursor, status=status)
        return json({"videos": [await shown(video) for video in page.videos], "next_cursor": page.next_cursor or None})

    @routes.get("/videos/{video_id}", responses={200: {"model": models.Video}}, summary="Get a video")
    async def get(video_id: str) -> Response:
        """Gives a video."""
        return json(await shown(await library.get(video_id)))

    @routes.patch("/videos/{video_id}", responses={200: {"model": models.Video}}, summary="Change a video")
    async def change(video_id: str, change: models.VideoChange) -> Response:
        """Changes title, collection or tags; what is not named stays. Searches see it within a second or so."""
        fields = change.model_dump(include=change.model_fields_set)
        return json(await shown(await library.describe(video_id, **fields)))

    @routes.get(
        "/videos/{video_id}/status", responses={200: {"model": models.VideoState}}, summary="Where a video stands"
    )
    async def status(video_id: str) -> Response:
        """Gives state, progress, slices and error."""
        video = await library.get(video_id)
        return json(views.status(video, await time_left.of(video)))

    @routes.get("/videos/{video_id}/events", responses=_EVENTS_RESPONSE, summary="Follow a video")
    async def events(video_id: str) -> Response:
        """Sends the status now and after every change, as server-sent events, until it is ready, failed or deleted."""
        updates = watcher.watch(video_id)
        first = await anext(updates)  # before the head goes out: an unknown id is a 404, not a stream that ends
        headers = {**NO_STORE, "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(watcher, first, updates, time_left), headers=headers, media_type="text/event-stream"
        )

    @routes.delete(
        "/videos/{video_id}", status_code=202, responses={202: {"model": models.Video}}, summary="Delete a video"
    )
    async def delete(video_id: str) -> Response:
        """Removes a video with all that was derived from it. Search stops finding it at once."""
        return json(views.video(await library.delete(video_id)), 202)

    @routes.post(
        "/videos/{video_id}/retry", status_code=202, responses={202: {"model": models.Video}}, summary="Retry a video"
    )
    async def retry(video_id: str) -> Response:
        """Does again what failed of a failed video, and only that."""
        return json(await shown(await library.retry(video_id)), 202)

    return routes


def _accepted(video: Video) -> Response:
    return json(views.video(video), 202, {"Location": versioned(f"/videos/{video.video_id}")})


async def _events(
    watcher: Watcher, first: Video | None, updates: AsyncIterator[Video | None], time_left: TimeLeft
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n" + await _event(first, time_left)
    async for video in updates:
        yield await _event(video, time_left)
    # While the gateway stops nothing has ended: without this event the client goes on with another gateway.
    if not watcher.stopped:
        yield b"event: end\ndata: {}\n\n"


async def _event(video: Video | None, time_left: TimeLeft) -> bytes:
    if video is None:
        return b": still here\n\n"
    state = orjson.dumps(views.status(video, await time_left.of(video)), option=orjson.OPT_UTC_Z)
    return b"event: status\nid: %d\ndata: %s\n\n" % (video.revision, state)
