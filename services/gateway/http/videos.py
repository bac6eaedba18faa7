"""Routes of videos: in, out, and where they stand."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from services.common.videos.model import Video
from services.gateway import views
from services.gateway.http import models
from services.gateway.http.respond import NO_STORE, dumped, json
from services.gateway.http.validators import Validator, answer
from services.gateway.library import Library
from services.gateway.time_left import TimeLeft
from services.gateway.watch import Watcher

_EVENTS_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`event: status` with a VideoState as data, now and after every change; `event: end` at last.",
        "content": {
            "text/event-stream": {"example": 'event: status\ndata: {"video_id": "…", "status": "processing"}\n\n'}
        },
    }
}


def router(*, library: Library, watcher: Watcher, time_left: TimeLeft) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["videos"], responses=models.ERRORS)

    async def shown(video: Video) -> views.Json:
        return views.video(video, await time_left.of(video))

    @routes.get("/videos", responses={200: {"model": models.VideoList}}, summary="List videos")
    async def list_videos(
        limit: Annotated[int, Query(description="Above 200 is taken as 200, below 1 as 50.")] = 50,
        cursor: Annotated[str, Query(description="`next_cursor` of the page before.")] = "",
        status: Annotated[str, Query(description="uploaded, processing, ready, failed or deleting.")] = "",
    ) -> Response:
        """Gives videos, newest first."""
        page = await library.list(limit=limit, cursor=cursor, status=status)
        return json({"videos": [await shown(video) for video in page.videos], "next_cursor": page.next_cursor or None})

    @routes.get(
        "/videos/{video_id}",
        responses={200: {"model": models.Video}, 304: models.NOT_CHANGED},
        openapi_extra=models.IF_NONE_MATCH,
        summary="Get a video",
    )
    async def get(request: Request, video_id: str) -> Response:
        """Gives a video; where If-None-Match names what it is like, nothing."""
        body = dumped(await shown(await library.get(video_id)))
        tag = hashlib.sha256(body).hexdigest()[:16]
        return answer(request, body, Validator(tag), media_type="application/json", caching="private, no-cache")

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

    @routes.get(
        "/videos/{video_id}/events", responses=_EVENTS_RESPONSE, response_class=Response, summary="Follow a video"
    )
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
    async def delete(
        video_id: str,
        now: Annotated[bool, Query(description="Removes it for good: it cannot be brought back.")] = False,
    ) -> Response:
        """Removes a video with all that was derived from it. Searches and lists have it no more at once.

        Until `restorable_until` it can be brought back with `POST /v1/videos/{id}/restore`.
        """
        return json(views.video(await library.delete(video_id, now=now)), 202)

    @routes.post(
        "/videos/{video_id}/restore",
        status_code=202,
        responses={202: {"model": models.Video}},
        summary="Bring a deleted video back",
    )
    async def restore(video_id: str) -> Response:
        """Undoes a deletion. What was searchable is so again in a moment: then the video is in its former state."""
        return json(await shown(await library.restore(video_id)), 202)

    @routes.post(
        "/videos/{video_id}/retry", status_code=202, responses={202: {"model": models.Video}}, summary="Retry a video"
    )
    async def retry(video_id: str) -> Response:
        """Does again what failed of a video, and only that: slices, or the version that browsers can play."""
        return json(await shown(await library.retry(video_id)), 202)

    return routes


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
