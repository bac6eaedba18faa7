"""The search route."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.common.errors import InvalidArgument
from services.gateway import views
from services.gateway.http import models
from services.gateway.http.respond import json
from services.gateway.search import DEFAULT_LIMIT, MAX_LIMIT, Searcher, SearchMode, SearchQuery


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


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
        f"Videos, 1 to {MAX_LIMIT}; others are brought into that range.",
        {"type": "integer", "default": DEFAULT_LIMIT},
    ),
    _parameter("cursor", "`next_cursor` of the page before.", {"type": "string"}),
    _parameter(
        "video_id", "Only these videos; may be repeated.", {"type": "array", "items": {"type": "string"}}, explode=True
    ),
    _parameter("language", "Only speech in this language, ISO 639-1.", {"type": "string"}, example="en"),
    _parameter(
        "mode",
        "hybrid (both legs), semantic (by meaning) or keyword (by words).",
        {"type": "string", "enum": [mode.value for mode in SearchMode], "default": SearchMode.HYBRID.value},
    ),
]


def router(*, searcher: Searcher, query_max_chars: int) -> APIRouter:
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

        `curl -G http://localhost:8080/search --data-urlencode 'q=why does bread rise'`
        """
        given = request.query_params
        query = SearchQuery.of(
            given.get("q", ""),
            max_chars=query_max_chars,
            limit=_limit(given.get("limit", "")),
            mode=given.get("mode", ""),
            video_ids=given.getlist("video_id"),
            language=given.get("language", ""),
            cursor=given.get("cursor", ""),
        )
        return json(views.search(await searcher.search(query)))

    return routes


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    try:
        return int(text[:20])
    except ValueError:
        raise InvalidArgument(f"limit {text[:32]!r} is not a number from 1 to {MAX_LIMIT}", field="limit") from None
