"""What lets browsers and caches keep an answer: how long, and how they ask whether it still holds (RFC 9110, 9111)."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

DAY = 86_400
YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells an answer from an older one.

    Attributes:
        etag: Its tag, without quotes; other bytes never have the same.
        modified: When it last changed; None where that is not known.
    """

    etag: str
    modified: dt.datetime | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell."""
        told = {"ETag": f'"{self.etag}"'}
        if self.modified is not None:
            told["Last-Modified"] = format_datetime(
                self.modified.astimezone(dt.UTC).replace(microsecond=0), usegmt=True
            )
        return told

    def unchanged(self, request: Request) -> bool:
        """Says whether whoever asks has it already: then 304 is the answer."""
        tags = request.headers.get("if-none-match")
        if tags is not None:  # where it is there, the date does not count
            return _names(tags, self.etag)
        since = _date(request.headers.get("if-modified-since", ""))
        return since is not None and self.modified is not None and self.modified.replace(microsecond=0) <= since

    def allows_range(self, request: Request) -> bool:
        """Says whether a range fits what whoever asks has of it already."""
        condition = request.headers.get("if-range")
        if condition is None:
            return True
        if condition.startswith(('"', "W/")):
            return condition == f'"{self.etag}"'  # a weak tag never fits
        since = _date(condition)
        return since is not None and self.modified is not None and self.modified.replace(microsecond=0) == since


def cache_control(request: Request, *, seconds: float, immutable: bool = False) -> str:
    """Says who may keep an answer, and for how long.

    Only a signed URL may be kept by caches that many share, and no longer than it is good: it is a secret in itself,
    and asks for no key. All else is for whoever asked.
    """
    expires = request.query_params.get("expires", "")
    signed = "signature" in request.query_params and "authorization" not in request.headers
    if signed and expires.isascii() and expires.isdigit():
        left = max(int(expires[:14]) - int(time.time()), 0)
        return f"public, max-age={min(round(seconds), left)}{', immutable' if immutable else ''}"
    return f"private, max-age={round(seconds)}{', immutable' if immutable else ''}"


def answer(
    request: Request,
    body: bytes,
    validator: Validator,
    *,
    media_type: str,
    caching: str,
    more: dict[str, str] | None = None,
) -> Response:
    """Gives a small answer: 304 where whoever asks has it."""
    headers = {**(more or {}), **validator.headers, "Cache-Control": caching}
    if validator.unchanged(request):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def _names(header: str, etag: str) -> bool:
    return header.strip() == "*" or f'"{etag}"' in (part.strip().removeprefix("W/") for part in header.split(","))


def _date(text: str) -> dt.datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)
