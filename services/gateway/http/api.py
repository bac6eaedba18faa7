"""The HTTP application: routes, errors and the outermost layer, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from services.gateway.edits import Edits
from services.gateway.http import edge, errors, health, media, page, search, transcripts, videos
from services.gateway.http import imports as imports_http
from services.gateway.http import shards as shard_routes
from services.gateway.imports import Imports
from services.gateway.library import Library
from services.gateway.search import Searcher
from services.gateway.shards import Shards
from services.gateway.time_left import TimeLeft
from services.gateway.uploads import Uploads
from services.gateway.watch import Watcher

_DESCRIPTION = """Find the moment something was said.

Upload a video, follow its slices as they become searchable, and ask. Times are seconds in the media, dates ISO 8601
in UTC, lists go on by opaque cursors, and every error has one shape:
`{"error": {"code", "status", "message", "details"}}`, where `details[0].reason` is for machines."""


def create(
    *,
    library: Library,
    uploads: Uploads,
    imports: Imports,
    edits: Edits,
    watcher: Watcher,
    time_left: TimeLeft,
    searcher: Searcher,
    shards: Shards,
    query_max_chars: int,
    checks: Callable[[], Mapping[str, health.Check]],
    stopping: Callable[[], bool],
) -> FastAPI:
    """Makes the application."""
    app = FastAPI(
        title="Earmark",
        version=_version(),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
    )
    routers = [
        search.router(searcher=searcher, query_max_chars=query_max_chars),
        videos.router(library=library, uploads=uploads, watcher=watcher, time_left=time_left),
        transcripts.router(library=library, edits=edits),
        imports_http.router(imports=imports),
        media.router(library=library),
        shard_routes.router(shards=shards),
        health.router(checks=checks, stopping=stopping),
        page.router(),
    ]
    for router in routers:
        app.include_router(router)
    errors.install(app, [route for router in routers for route in router.routes])
    app.add_middleware(edge.Edge)
    app.mount("/web", page.web_files(), name="web")
    app.mount("/docs/assets", page.docs_files(), name="docs-assets")
    return app


def _version() -> str:
    try:
        return version("earmark")
    except PackageNotFoundError:  # run from the source tree
        return "0"
