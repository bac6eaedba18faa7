"""Every error as one JSON shape: `{"error": {"code", "status", "message", "details"}}`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from ulid import ULID

from services.common.errors import Aborted, EarmarkError, InvalidArgument, UnsupportedMediaType
from services.common.rpc import DOMAIN, internal_error
from services.gateway.faults import known
from services.gateway.http.heads import answers_head
from services.gateway.http.meant import meant
from services.gateway.versions import plain

log = structlog.get_logger()

_STATUS_OF = {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}
_REASON_OF = {404: "ROUTE_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
_MESSAGE_OF = {
    404: "there is nothing at this path; /docs lists what there is",
    405: "this path does not answer this method; /docs lists what it does",
}
_BODY_OF = {
    "/shards/plan": '{"shards": 3}',
    "/shards/scale": '{"shards": 3}',
    "/shards/move": '{"slots": [17, 18], "to": 2}',
    "/shards/cancel": "{}",
    "/shards/rebuild": '{"all": true}',
}
_KINDS = {
    "missing": "is missing",
    "bool_": "must be true or false",
    "int_": "must be a whole number",
    "float_": "must be a number",
    "string_type": "must be a text",
    "list_type": "must be a list",
}
"""What is wrong, by the beginning of pydantic's type of the problem."""
# Where Starlette says "body", people say nothing, and "query" is not part of a parameter's name.
_PLACES = {"body", "query", "path", "header", "cookie"}


def render(error: EarmarkError) -> Response:
    """Gives the response that tells an error."""
    details: list[dict[str, Any]] = [{"reason": error.reason, "domain": DOMAIN, "metadata": error.metadata}]
    if error.field is not None:
        details.append({"field": error.field, "description": error.message})
    headers = {}
    if error.code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = 'Bearer realm="earmark"'
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    return _response(error.http_status, error.code, error.message, details, headers)


def unexpected(error: BaseException, *, method: str, path: str) -> Response:
    """Gives the response that tells an exception: what is known of it, or an id under which the log tells all."""
    if (foreseen := known(error)) is not None:
        if foreseen is not error and not isinstance(foreseen, Aborted):  # a client that went away is nobody's fault
            log.warning("dependency_failed", method=method, path=path, error=repr(error))
        return render(foreseen)
    error_id = str(ULID())
    log.error("request_failed", method=method, path=path, error_id=error_id, exc_info=error)
    return render(internal_error(error_id))


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Makes an application answer every error in the one shape. `routes`, by plain paths, say what a path answers."""

    async def on_known(_: Request, error: Exception) -> Response:
        assert isinstance(error, EarmarkError)
        return render(error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        known = _fields(request)
        violations = [_violation(problem, plain(request.url.path), known) for problem in error.errors()]
        first = violations[0]
        message = f"{first['field']}: {first['description']}"
        if first["field"] == "body" and _other_type(request.headers):
            return render(UnsupportedMediaType(message, field="body"))
        info = {"reason": "INVALID_ARGUMENT", "domain": DOMAIN, "metadata": {}}
        return _response(400, "INVALID_ARGUMENT", message, [info, *violations], {})

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = error.status_code
        headers = dict(error.headers or {})
        if code == 405:  # the framework names the methods of the first route of the path only
            headers["Allow"] = _allowed(routes, request)
        if code == 400:  # FastAPI, of a body that is no JSON in UTF-8
            return render(InvalidArgument("the body cannot be read as JSON in UTF-8", field="body"))
        info = {"reason": _REASON_OF.get(code, "INVALID_ARGUMENT"), "domain": DOMAIN, "metadata": {}}
        status = _STATUS_OF.get(code, "INVALID_ARGUMENT")
        return _response(code, status, _MESSAGE_OF.get(code, str(error.detail)), [info], headers)

    app.add_exception_handler(EarmarkError, on_known)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _other_type(headers: Headers) -> bool:
    """Whether a body came that does not call itself JSON."""
    kind = headers.get("content-type", "").split(";", 1)[0].strip().lower()
    empty = headers.get("content-length", "") == "0" or not {"content-length", "transfer-encoding"} & set(headers)
    return not empty and not re.fullmatch(r"application/([\w.+-]+\+)?json", kind)


def _violation(problem: dict[str, Any], path: str, known: Sequence[str]) -> dict[str, str]:
    no_body = problem["type"] == "missing" and tuple(problem["loc"]) == ("body",)
    if no_body or problem["type"] in {"json_invalid", "model_attributes_type", "dict_type"}:
        example = _BODY_OF.get(path) or _example_of_video(path)
        description = f"the body must be a JSON object, such as {example}, sent with Content-Type: application/json"
        return {"field": "body", "description": description}
    field = ".".join(str(part) for part in problem["loc"] if part not in _PLACES)
    if problem["type"] == "extra_forbidden":
        return {"field": field[:40], "description": f"there is no such field; {meant(field, known)}"}
    said = problem["msg"][:1].lower() + problem["msg"][1:]
    description = next((words for start, words in _KINDS.items() if problem["type"].startswith(start)), said)
    return {"field": field or "body", "description": description}


def _fields(request: Request) -> list[str]:
    """Gives the fields that the body of the route may have."""
    body = getattr(request.scope.get("route"), "body_field", None)
    fields = getattr(getattr(body, "field_info", None), "annotation", None)
    return list(getattr(fields, "model_fields", {}))


def _example_of_video(path: str) -> str:
    if "/transcript/segments/" in path:
        return '{"text": "…"}'
    return '{"title": "…"}' if path.startswith("/videos/") else '{"url": "https://…"}'


def _allowed(routes: Sequence[BaseRoute], request: Request) -> str:
    methods: set[str] = set()
    # Without what was found out about the path as it came: FastAPI would go by that.
    scope = {**request.scope, "path": plain(request.scope["path"])}
    scope.pop("fastapi", None)
    for route in routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            methods.update(getattr(route, "methods", None) or ())
    if answers_head(methods, scope["path"]):
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def _response(code: int, status: str, message: str, details: list[dict[str, Any]], headers: dict[str, str]) -> Response:
    body = {"error": {"code": code, "status": status, "message": message, "details": details}}
    return Response(orjson.dumps(body), code, {**headers, "Cache-Control": "no-store"}, "application/json")
