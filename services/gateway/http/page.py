"""The web page, its files, and the API's documentation: all from this process, nothing from a CDN."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).resolve().parent.parent / "web"

# Names carry no version, so a browser asks each time; it is answered 304 by ETag.
_REVALIDATE = {"Cache-Control": "no-cache"}
# Swagger UI sets style attributes; it is only let do so on its own page.
_DOCS_CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Earmark API</title>
<link rel="icon" href="/web/icon.svg"><link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body>
</html>
"""
_DOCS_START = """SwaggerUIBundle({ url: "/openapi.json", dom_id: "#ui", deepLinking: true, tryItOutEnabled: true });
"""


class WebFiles(StaticFiles):
    """The page's files, to be asked for again each time."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Adds the caching rule."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came
        response.headers.update(_REVALIDATE)
        return response


def web_files() -> WebFiles:
    """Gives the page's files, for mounting at /web."""
    return WebFiles(directory=WEB, check_dir=False)


def docs_files() -> StaticFiles:
    """Gives Swagger UI's files (from the `fastapi-offline` package, Apache-2.0), for mounting at /docs/assets."""
    return _DocsFiles(directory=str(resources.files("fastapi_offline") / "static"))


class _DocsFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


def router() -> APIRouter:
    """Makes the routes of the page and the documentation."""
    routes = APIRouter(include_in_schema=False)

    files = web_files()

    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    async def docs() -> Response:
        return Response(_DOCS, headers={**_REVALIDATE, "Content-Security-Policy": _DOCS_CSP}, media_type="text/html")

    async def docs_start() -> Response:
        return Response(_DOCS_START, headers=_REVALIDATE, media_type="text/javascript")

    for path in ("/", "/library", "/ops", "/v/{video_id}"):
        routes.add_api_route(path, page)
    routes.add_api_route("/docs", docs)
    routes.add_api_route("/docs/start.js", docs_start)
    return routes
