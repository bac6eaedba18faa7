"""What the API's description says beyond its routes: which take a key, with which scopes, and an example of each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from services.gateway.http.access import is_public, needed
from services.gateway.http.validators import Validator, answer

_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `earmark_…`. None is needed on loopback, unless EARMARK_ACCESS says otherwise.",
    },
    "signedUrl": {
        "type": "apiKey",
        "in": "query",
        "name": "signature",
        "description": "For what sends no headers: URLs with `key`, `expires` and `signature`, as `links` have them.",
    },
}
EXAMPLES = Path(__file__).with_name("examples.json")
"""Requests and what a running mesh answered, by method and path; `tools/api_examples.py` records them."""
_SIGNED = ("/media", "/transcript", "/events")
_METHODS = {"get", "head", "options", "post", "put", "patch", "delete"}


def describe(app: FastAPI) -> None:
    """Makes an application's description say what each route takes."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            examples = orjson.loads(EXAMPLES.read_bytes())
            schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    if method in _METHODS:
                        _add(operation, method.upper(), path)
                        _exemplify(operation, examples.get(f"{method.upper()} {path}", {}))
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _exemplify(operation: dict[str, Any], example: dict[str, Any]) -> None:
    if "request" in example:
        operation["requestBody"]["content"]["application/json"]["example"] = example["request"]
    if "answer" not in example:
        return
    shape = operation["responses"][example["code"]]["content"]["application/json"]["schema"]
    for code, told in operation["responses"].items():
        content = told.get("content", {}).get("application/json")
        if content and code.startswith("2") and content["schema"] == shape:  # what was there already is told alike
            content["example"] = example["answer"]


def router(app: FastAPI) -> APIRouter:
    """Makes the route of the description."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/openapi.json")
    async def description(request: Request) -> Response:
        body = orjson.dumps(app.openapi())
        tag = hashlib.sha256(body).hexdigest()[:16]
        return answer(request, body, Validator(tag), media_type="application/json", caching="no-cache")

    return routes


def _add(operation: dict[str, Any], method: str, path: str) -> None:
    if is_public(path):
        operation["security"] = []
        return
    operation["security"] = [{"key": []}]
    if method == "GET" and path.endswith(_SIGNED):
        operation["security"].append({"signedUrl": []})
    scopes = ", ".join(f"`{scope.value}`" for scope in needed(method, path))
    told = f"Takes a key with scope {scopes}." if scopes else "Takes any key."
    operation["description"] = f"{operation.get('description', '')}\n\n{told}".strip()
