"""The search route."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.gateway import views
from services.gateway.http import models
from services.gateway.http.respond import json
from services.gateway.search import Searcher, SearchQuery


def router(*, searcher: Searcher, query_max_chars: int) -> APIRouter:
    """Makes the route."""
    routes = APIRouter(tags=["search"], responses=models.ERRORS)

    @routes.get(
        "/search", responses={200: {"model": models.SearchResults}}, summary="Find the moment something was said"
    )
    async def search(  # noqa: PLR0917  (FastAPI calls it by name)
        q: Annotated[
            str,
            Query(
                description="What to look for; words in double quotes are wanted next to each other.",
                examples=["why does bread rise"],
            ),
        ] = "",
        limit: Annotated[int, Query(description="Videos, 1 to 100; others are brought into that range.")] = 10,
        cursor: Annotated[str, Query(description="`next_cursor` of the page before.")] = "",
        video_id: Annotated[list[str] | None, Query(description="Only these videos; may be repeated.")] = None,
        language: Annotated[str, Query(description="Only speech in this language, ISO 639-1.")] = "",
        mode: Annotated[
            str, Query(description="hybrid (both legs), semantic (by meaning) or keyword (by words).")
        ] = "",
    ) -> Response:
        """Gives the best moments of the best videos, and what the answer covers.

        `curl -G http://localhost:8080/search --data-urlencode 'q=why does bread rise'`
        """
        query = SearchQuery.of(
            q,
            max_chars=query_max_chars,
            limit=limit,
            mode=mode,
            video_ids=video_id or (),
            language=language,
            cursor=cursor,
        )
        return json(views.search(await searcher.search(query)))

    return routes
