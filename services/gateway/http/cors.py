"""What pages of other origins may send and read (CORS)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from services.common.errors import PermissionDenied
from services.gateway.http.errors import render

_MAX_AGE_SECONDS = 600
"""For which a browser does not ask again."""
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_HEADERS = [
    *("Authorization", "Content-Digest", "Content-Type", "Digest", "Idempotency-Key", "If-Match", "If-None-Match"),
    *(
        "If-Range",
        "Range",
        "Tus-Resumable",
        "Upload-Checksum",
        "Upload-Defer-Length",
        "Upload-Length",
        "Upload-Metadata",
    ),
    *("Upload-Offset", "X-HTTP-Method-Override", "X-Requested-With"),
]
_EXPOSED_HEADERS = [
    *("Content-Range", "Earmark-Existing", "Earmark-Video-Id", "ETag", "Location", "Retry-After", "X-Earmark-Complete"),
    *("Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable", "Tus-Version", "Upload-Defer-Length"),
    *("Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset"),
]


class Cors(CORSMiddleware):
    """Starlette's, with refusals in the shape of all errors.

    Args:
        app: What is behind it.
        origins: Those whose pages may call.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            max_age=_MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answers what a browser asks before it sends something for a page."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refused = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        error = PermissionDenied(
            f"pages of other sites may not send this: its {refused} is not allowed; EARMARK_CORS_ORIGINS names the "
            "origins that may",
            reason="ORIGIN_REFUSED",
        )
        told = render(error)
        told.headers.update({name: value for name, value in response.headers.items() if name.startswith("access-")})
        told.headers["Vary"] = response.headers.get("vary", "Origin")
        return told
