"""The HTTP application: routes, errors and the outermost layer, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from fastapi import Depends, FastAPI

from services.gateway.access.gate import Gate
from services.gateway.access.keys import Keys
from services.gateway.edits import Edits
from services.gateway.http import (
    edge,
    errors,
    health,
    media,
    openapi,
    page,
    parameters,
    search,
    transcripts,
    tus,
    videos,
)
from services.gateway.http import imports as imports_http
from services.gateway.http import keys as key_routes
from services.gateway.http import operations as operation_routes
from services.gateway.http import pictures as picture_routes
from services.gateway.http import presigned as presigned_http
from services.gateway.http import shards as shard_routes
from services.gateway.http import uploads as uploads_http
from services.gateway.http.access import Access
from services.gateway.http.aliases import Aliases
from services.gateway.http.cors import Cors
from services.gateway.http.heads import Heads
from services.gateway.http.limits import BodyLimit
from services.gateway.imports import Imports
from services.gateway.library import Library
from services.gateway.operations.overview import Operations
from services.gateway.pictures import Pictures
from services.gateway.presigned import Presigned
from services.gateway.resumable import Resumable
from services.gateway.search import Searches
from services.gateway.shards import Shards
from services.gateway.time_left import TimeLeft
from services.gateway.uploads import Uploads
from services.gateway.versions import PREFIX
from services.gateway.watch import Watcher

_DESCRIPTION = """Find the moment something was said.

Upload a video, follow its slices as they become searchable, and ask. Times are seconds in the media, dates ISO 8601
in UTC, lists go on by opaque cursors, and every error has one shape:
`{"error": {"code", "status", "message", "details"}}`, where `details[0].reason` is for machines.

The paths without `/v1`, as they were called first, are answered as those with it."""


def create(
    *,
    library: Library,
    pictures: Pictures,
    uploads: Uploads,
    resumable: Resumable,
    presigned: Presigned,
    imports: Imports,
    edits: Edits,
    watcher: Watcher,
    time_left: TimeLeft,
    searcher: Searches,
    shards: Shards,
    operations: Operations,
    keys: Keys,
    gate: Gate,
    local: bool,
    cors_origins: Sequence[str],
    max_body_bytes: int,
    query_max_chars: int,
    checks: Callable[[], Mapping[str, health.Check]],
    stopping: Callable[[], bool],
) -> FastAPI:
    """Makes the application.

    Args:
        library: The videos there are.
        pictures: Pictures of them.
        uploads: Makes new ones.
        resumable: Makes new ones of bytes that come in several requests.
        presigned: Makes new ones of bytes that come past the gateway.
        imports: Makes new ones of transcripts.
        edits: Changes transcripts.
        watcher: Follows videos.
        time_left: Estimates.
        searcher: Answers searches.
        shards: The index, for operators.
        operations: The mesh at a glance, for operators.
        keys: API keys, for administrators.
        gate: Says who calls.
        local: Whether everybody may call because only this machine can.
        cors_origins: Origins of other sites whose pages may call.
        max_body_bytes: Size limit of bodies that are read whole.
        query_max_chars: Length limit of a query.
        checks: What `/readyz` asks.
        stopping: Whether the gateway is on its way out.
    """
    app = FastAPI(
        title="Earmark",
        version=app_version(),
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
    )
    searching = search.router(searcher=searcher, query_max_chars=query_max_chars)  # reads its parameters by itself
    versioned = [
        uploads_http.router(uploads=uploads),
        videos.router(library=library, watcher=watcher, time_left=time_left),
        transcripts.router(library=library, edits=edits),
        imports_http.router(imports=imports),
        tus.router(resumable=resumable),
        presigned_http.router(presigned=presigned, library=library),
        media.router(library=library),
        picture_routes.router(pictures=pictures),
        shard_routes.router(shards=shards),
        operation_routes.router(operations=operations),
        key_routes.router(keys=keys),
    ]
    others = [health.router(checks=checks, stopping=stopping), page.router(), openapi.router(app)]
    app.include_router(searching, prefix=PREFIX)
    for router in versioned:
        app.include_router(router, prefix=PREFIX, dependencies=[Depends(parameters.only_known)])
    versioned.append(searching)
    for router in others:
        app.include_router(router)
    routes = [route for router in [*versioned, *others] for route in router.routes]
    errors.install(app, routes)
    openapi.describe(app)
    # The last one added is the outermost: a refusal too is measured, and told to pages of allowed origins.
    app.add_middleware(Aliases, routes=[route for router in versioned for route in router.routes])
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(Access, gate=gate, local=local, cors_origins=cors_origins)
    app.add_middleware(tus.MethodOverride)
    app.add_middleware(Heads, routes=routes)
    if cors_origins:
        app.add_middleware(Cors, origins=cors_origins)
    app.add_middleware(edge.Edge, embedded=bool(cors_origins))
    app.mount("/web", page.web_files(), name="web")
    app.mount("/docs/assets", page.docs_files(), name="docs-assets")
    return app


def app_version() -> str:
    """Gives the version of what runs."""
    try:
        return version("earmark")
    except PackageNotFoundError:  # run from the source tree
        return "0"
