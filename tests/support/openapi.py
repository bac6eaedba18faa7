"""The API's description, without anything behind its routes."""

from __future__ import annotations

from typing import Any, cast

from services.gateway.access.gate import OpenGate
from services.gateway.http import api


def described() -> dict[str, Any]:
    """Gives the description."""
    parts = (
        "library",
        "pictures",
        "operations",
        "uploads",
        "resumable",
        "presigned",
        "imports",
        "edits",
        "watcher",
        "time_left",
        "searcher",
        "shards",
        "keys",
    )
    nothing: dict[str, Any] = dict.fromkeys(parts, cast(Any, None))  # routes are described, none is asked
    app = api.create(
        **nothing,
        gate=OpenGate(),
        local=True,
        cors_origins=[],
        max_body_bytes=1,
        query_max_chars=1,
        checks=dict,
        stopping=bool,
    )
    return app.openapi()
