"""What the API's description says of access: which routes take a key, and with which scopes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.gateway.http.access import is_public, needed

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
_SIGNED = ("/media", "/transcript", "/events")
_METHODS = {"get", "head", "options", "post", "put", "patch", "delete"}


def describe(app: FastAPI) -> None:
    """Makes an application's description say what each route takes."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    if method in _METHODS:
                        _add(operation, method.upper(), path)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it


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
