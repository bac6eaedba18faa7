"""The search route."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from services.common.errors import InvalidArgument
from services.gateway import views
from services.gateway.access.caller import caller
from services.gateway.filters import SearchFilter
from services.gateway.http import models, parameters
from services.gateway.http.respond import json
from services.gateway.search import DEFAULT_LIMIT, MAX_LIMIT, Searches, SearchMode, SearchQuery


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


_MANY = {"type": "array", "items": {"type": "string"}}

# Written down by hand, and read by hand below: FastAPI's own reading of six parameters costs a third of what the
# gateway adds to a search.
_PARAMETERS = [
    _parameter(
        "q",
        "What to look for; words in double quotes are wanted next to each other.",
        {"type": "string", "minLength": 1, "maxLength": 1000},
        required=True,
        example="why does bread rise",
    ),
    _parameter(
        "limit",
        f"Videos; above {MAX_LIMIT} is taken as {MAX_LIMIT}, below 1 as {DEFAULT_LIMIT}.",
        {"type": "integer", "default": DEFAULT_LIMIT},
    ),
    _parameter("cursor", "`next_cursor` of the page before.", {"type": "string"}),
    _parameter("video_id", "Only these videos; may be repeated.", _MANY, explode=True),
    _parameter("language", "Only speech in this language, ISO 639-1.", {"type": "string"}, example="en"),
    _parameter("collection", "Only videos of this collection; repeated, of one of these.", _MANY, explode=True),
    _parameter("speaker", "Only speech of this speaker; repeated, of one of these.", _MANY, explode=True),
    _parameter("tag", "Only videos with this tag; repeated, with every one of these.", _MANY, explode=True),
    _parameter(
        "uploaded_since",
        "Only videos uploaded then or later: an ISO 8601 date or time, UTC unless it says otherwise.",
        {"type": "string"},
        example="2026-11-01",
    ),
    _parameter(
        "uploaded_before",
        "Only videos uploaded earlier; a date means its beginning.",
        {"type": "string"},
        example="2026-12-01T00:00:00Z",
    ),
    _parameter("min_duration", "Only videos at least so long, in seconds.", {"type": "number", "minimum": 0}),
    _parameter("max_duration", "Only videos at most so long, in seconds.", {"type": "number", "minimum": 0}),
    _parameter(
        "min_token",
        "`index_token` of a video whose speech the answer must have in, as far as it was searchable then; may be "
        "repeated. The search waits for it, half of its time at most; `coverage.tokens_reached` says whether it is in.",
        _MANY,
        explode=True,
    ),
    _parameter(
        "mode",
        "hybrid (both legs), semantic (by meaning) or keyword (by words).",
        {"type": "string", "enum": [mode.value for mode in SearchMode], "default": SearchMode.HYBRID.value},
    ),
]


_KNOWN = {parameter["name"]: None for parameter in _PARAMETERS}
_EVERYTHING = SearchFilter()
_FILTERS = {
    "video_id",
    "language",
    "collection",
    "speaker",
    "tag",
    "uploaded_since",
    "uploaded_before",
    "min_duration",
    "max_duration",
}


def router(*, searcher: Searches, query_max_chars: int) -> APIRouter:
    """Makes the route."""
    routes = APIRouter(tags=["search"], responses=models.ERRORS)

    @routes.get(
        "/search",
        responses={200: {"model": models.SearchResults}},
        openapi_extra={"parameters": _PARAMETERS},
        summary="Find the moment something was said",
    )
    async def search(request: Request) -> Response:
        """Gives the best moments of the best videos, and what the answer covers.

        `curl -G http://localhost:8080/v1/search --data-urlencode 'q=why does bread rise'`
        """
        given = request.query_params
        parameters.check(given.keys(), _KNOWN)
        query = SearchQuery.of(
            given.get("q", ""),
            max_chars=query_max_chars,
            seen=caller().collections,
            limit=_limit(given.get("limit", "")),
            mode=given.get("mode", ""),
            filters=_filter(given) if _FILTERS & given.keys() else _EVERYTHING,
            min_tokens=given.getlist("min_token"),
            cursor=given.get("cursor", ""),
        )
        return json(views.search(await searcher.search(query)))

    return routes


def _filter(given: QueryParams) -> SearchFilter:
    return SearchFilter.of(
        video_ids=given.getlist("video_id"),
        language=given.get("language", ""),
        collections=given.getlist("collection"),
        speakers=given.getlist("speaker"),
        tags=given.getlist("tag"),
        uploaded_since=_date(given, "uploaded_since"),
        uploaded_before=_date(given, "uploaded_before"),
        min_duration=_seconds(given, "min_duration"),
        max_duration=_seconds(given, "max_duration"),
    )


def _date(given: QueryParams, field: str) -> dt.datetime | None:
    text = given.get(field, "")
    if not text:
        return None
    try:
        # A plus sign that was not escaped arrives as a blank.
        return dt.datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    except ValueError:
        raise InvalidArgument(
            f"{field} {text[:40]!r} is no ISO 8601 date or time, such as 2026-11-23 or 2026-11-23T10:00:00Z",
            field=field,
        ) from None


def _seconds(given: QueryParams, field: str) -> float | None:
    text = given.get(field, "")
    if not text:
        return None
    try:
        return float(text[:40])
    except ValueError:
        raise InvalidArgument(f"{field} {text[:40]!r} is not a number of seconds", field=field) from None


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    try:
        return int(text[:20])
    except ValueError:
        raise InvalidArgument(f"limit {text[:32]!r} is not a number from 1 to {MAX_LIMIT}", field="limit") from None
