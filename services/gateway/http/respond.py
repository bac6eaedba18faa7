"""Writes plain dictionaries as JSON, without a validation on the way out."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

NO_STORE = {"Cache-Control": "no-store"}


def json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Gives a JSON response that no cache keeps. Dates are written in ISO 8601, UTC with a Z."""
    return Response(dumped(body), status, {**NO_STORE, **(headers or {})}, "application/json")


def dumped(body: Any) -> bytes:
    """Writes JSON; dates in ISO 8601, UTC with a Z."""
    return orjson.dumps(body, option=orjson.OPT_UTC_Z)
