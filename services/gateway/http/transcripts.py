"""Routes of transcripts: read in their forms, put in place, corrected."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from services.common.errors import InvalidArgument, UnsupportedMediaType
from services.gateway import views
from services.gateway.edits import Edits, SegmentChange
from services.gateway.http import models
from services.gateway.http.respond import json
from services.gateway.http.validators import Validator, answer
from services.gateway.library import Library
from services.gateway.transcript_form import MEDIA_TYPES

_VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:04.200\n<v Ann>The yeast eats the sugar.\n"
_SRT = "1\n00:00:00,000 --> 00:00:04,200\nThe yeast eats the sugar.\n"
_TRANSCRIPT_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "model": models.Transcript,
        "description": "The transcript.",
        "content": {
            "text/vtt": {"example": _VTT},
            "application/x-subrip": {"example": _SRT},
            "text/plain": {"example": "The yeast eats the sugar.\n"},
        },
    },
    304: models.NOT_CHANGED,
}


_SEGMENT: dict[str, Any] = {
    "type": "object",
    "required": ["start", "end", "text"],
    "properties": {
        "start": {"type": "number", "minimum": 0, "description": "Seconds."},
        "end": {"type": "number", "maximum": 86400},
        "text": {"type": "string", "maxLength": 10000},
        "speaker": {"type": "string", "maxLength": 100},
        "suspect": {"description": "true or a reason where nobody says it."},
        "language": {"type": "string", "description": "ISO 639-1; empty for that of the video."},
        "words": {"type": "array", "items": {"type": "object"}, "description": "As an export has them."},
    },
}
_TRANSCRIPT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/vtt": {
                "schema": {"type": "string"},
                "example": _VTT,
            },
            "application/x-subrip": {
                "schema": {"type": "string"},
                "example": _SRT,
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["segments"],
                    "properties": {
                        "segments": {"type": "array", "minItems": 1, "items": _SEGMENT},
                        "language": {"type": "string", "description": "ISO 639-1."},
                    },
                },
                "example": {"segments": [{"start": 0.0, "end": 4.2, "text": "The yeast eats the sugar."}]},
            },
        },
    }
}
IfMatch = Annotated[
    str, Header(description="ETag of the transcript the change is made of; when it was edited since, 412.")
]


def router(*, library: Library, edits: Edits) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["transcripts"], responses=models.ERRORS)

    @routes.get(
        "/videos/{video_id}/transcript",
        responses=_TRANSCRIPT_RESPONSE,
        openapi_extra=models.IF_NONE_MATCH,
        summary="Get what was said",
    )
    async def transcript(
        request: Request,
        video_id: str,
        *,
        format: Annotated[str, Query(description="json, vtt, srt or txt.")] = "json",  # noqa: A002
        suspect: Annotated[
            str,
            Query(
                description="include or exclude what likely nobody said; json has it, with the reason, and captions do "
                "not, unless told."
            ),
        ] = "",
        words: Annotated[bool, Query(description="Whether vtt has the time of each word.")] = False,
        original: Annotated[bool, Query(description="Gives what was heard, before anybody edited it.")] = False,
    ) -> Response:
        """Gives the transcript as far as there is one, as JSON with word times, as captions, or as text."""
        found = await library.transcript(video_id, format, suspect, words=words, original=original)
        # The revision is what a change is made of; the rest tells one form, or what was heard until now, from another.
        tag = f"{found.revision}-{hashlib.sha256(found.body).hexdigest()[:16]}"
        more = {"X-Earmark-Complete": str(found.complete).lower()}
        return answer(
            request, found.body, Validator(tag), media_type=found.media_type, caching="private, no-cache", more=more
        )

    @routes.put(
        "/videos/{video_id}/transcript",
        status_code=202,
        responses={202: {"model": models.Video}},
        openapi_extra=_TRANSCRIPT_BODY,
        summary="Put a transcript in place",
    )
    async def put_transcript(video_id: str, request: Request, if_match: IfMatch = "") -> Response:
        """Takes WebVTT, SubRip or JSON by its Content-Type; only the parts that change are embedded and indexed again.

        `curl -T talk.vtt -H "Content-Type: text/vtt" http://localhost:8080/v1/videos/vid_…/transcript`
        """
        kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        if kind not in MEDIA_TYPES:
            allowed = ", ".join(MEDIA_TYPES)
            raise UnsupportedMediaType(f"send it with one of these as Content-Type: {allowed}", field="content-type")
        if (announced := request.headers.get("content-length", "")).isdigit():
            edits.check_size(int(announced))
        video = await edits.put(video_id, request.stream(), MEDIA_TYPES[kind], _revision(if_match))
        return json(views.video(video), 202, {"ETag": f'"{video.transcript_revision}"'})

    @routes.patch(
        "/videos/{video_id}/transcript/segments/{segment}",
        responses={200: {"model": models.EditedSegment}},
        summary="Correct a segment",
    )
    async def change_segment(
        video_id: str, segment: str, change: models.SegmentChange, if_match: IfMatch = ""
    ) -> Response:
        """Changes text, times, speaker or suspicion of one segment; what is not named stays."""
        given = SegmentChange(**change.model_dump(include=change.model_fields_set))
        video, edited = await edits.change(video_id, segment, given, _revision(if_match))
        shown = {"video_id": video_id, "revision": video.transcript_revision, "status": video.status.value}
        body = {**shown, "segment": views.segment(segment, edited)}
        return json(body, 200, {"ETag": f'"{video.transcript_revision}"'})

    return routes


def _revision(if_match: str) -> int | None:
    """Reads If-Match: the ETag of a transcript; None for any."""
    if if_match.strip() in {"", "*"}:
        return None
    text = if_match.strip().removeprefix("W/").strip('"').partition("-")[0]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidArgument('If-Match must be the ETag of a transcript, such as "3"', field="If-Match")
    return int(text)
