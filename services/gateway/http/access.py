"""Lets a request in: who makes it, and whether they may use this route at all. What they see is `visible.py`'s."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import EarmarkError, PermissionDenied
from services.gateway.access.caller import Caller, enter
from services.gateway.access.caller import Scope as Right
from services.gateway.access.gate import Gate
from services.gateway.access.signing import PARAMETERS, Signature
from services.gateway.http.errors import render
from services.gateway.versions import plain

_READING = {"GET", "HEAD"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_MOST_FIELDS = 100
"""Of a query that has a signature in it."""
_PUBLIC = re.compile(r"/|/library|/ops|/v/[^/]+|/web/.*|/docs(/.*)?|/openapi\.json|/healthz|/readyz")
"""The page, which has nothing in it, the API's description, and whether the gateway lives."""

# The first that matches counts; what none matches takes an administrator, so that a route somebody adds and forgets
# here is closed and not open.
_READ, _UPLOAD, _CHANGE = (Right.READ,), (Right.UPLOAD,), (Right.READ, Right.UPLOAD)
_RULES: Sequence[tuple[str, re.Pattern[str], tuple[Right, ...]]] = [
    ("GET HEAD", re.compile(r"/search|/videos(/.*)?"), _READ),
    ("POST", re.compile(r"/videos|/videos/upload|/videos/import|/files|/uploads"), _UPLOAD),
    ("GET HEAD PATCH POST DELETE", re.compile(r"/(files|uploads)/.+"), _UPLOAD),
    ("OPTIONS", re.compile(r"/files(/.*)?"), ()),
    ("POST PUT PATCH DELETE", re.compile(r"/videos/.+"), _CHANGE),
    ("GET", re.compile(r"/keys/self"), ()),
]


def is_public(path: str) -> bool:
    """Says whether a path is for everybody."""
    return _PUBLIC.fullmatch(plain(path)) is not None


def needed(method: str, path: str) -> tuple[Right, ...]:
    """Gives the scopes that a request takes; none of them is for any key."""
    for methods, pattern, rights in _RULES:
        if method in methods.split() and pattern.fullmatch(plain(path)):
            return rights
    return (Right.ADMIN,)


class Access:
    """ASGI middleware that says who calls before anything else looks at the request.

    Args:
        app: What is behind it.
        gate: Finds out who calls.
        local: Whether everybody may call because only this machine can: then pages of other sites, which a browser on
            it may have open, are kept out.
        cors_origins: Origins whose pages may call all the same.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, local: bool, cors_origins: Collection[str]) -> None:
        self._app = app
        self._gate = gate
        self._local = local
        self._origins = frozenset(cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self._check_site(request)
            await self._enter(request)
        except EarmarkError as error:
            await render(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _enter(self, request: Request) -> None:
        method, path = request.method, request.scope["path"]
        key, signature = _bearer(request), _signature(request)
        if is_public(path) and not key and not self._gate.open:
            return
        who: Caller = await self._gate.admit(key, signature, path=path)
        enter(who)
        if not is_public(path):
            who.check(*needed(method, path))

    def _check_site(self, request: Request) -> None:
        """Keeps pages of other sites from using what needs no key: a browser would send for them as for ours."""
        headers = request.headers
        if not self._gate.open:
            return
        if headers.get("origin") in self._origins:
            return
        if request.method not in _SAFE and _foreign(headers, known_host=self._local):
            raise PermissionDenied(
                "a page of another site sent this; allow its origin with EARMARK_CORS_ORIGINS", reason="ORIGIN_REFUSED"
            )
        # A name of somebody else's that leads to this machine would make their page one of ours.
        if self._local and not _is_here(headers.get("host", "")):
            raise PermissionDenied(
                "without access control only localhost and addresses are answered to, not other names; set "
                "EARMARK_ACCESS=proxy when a proxy in front asks who it is, or EARMARK_ACCESS=keys",
                reason="HOST_REFUSED",
            )


def _foreign(headers: Headers, *, known_host: bool) -> bool:
    """Whether a page of another site sent this. Only browsers say so, and no page can forge it.

    Args:
        headers: Of the request.
        known_host: Whether its `Host` is what the browser asked for: a proxy may have put another in.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in {"none", "same-origin"}
    # Old browsers, and all where the address is not one they trust, as http://0.0.0.0.
    origin = headers.get("origin")
    return known_host and origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def _bearer(request: Request) -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _signature(request: Request) -> Signature | None:
    query = request.scope.get("query_string", b"")
    if request.method not in _READING or b"signature=" not in query:
        return None
    try:
        given: dict[str, Any] = dict(parse_qsl(query.decode("latin-1"), max_num_fields=_MOST_FIELDS))
    except ValueError:  # so many: none of ours
        return None
    if not all(name in given for name in PARAMETERS):
        return None
    return Signature(given["key"], given["expires"], given["signature"])


def _is_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    # A name without a dot is in no public DNS, so it is nobody else's.
    if "." not in name.strip(":") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
