"""Errors of the domain, which names fields as the HTTP API does, told in the terms of the gRPC protocol."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from services.gateway.faults import known

T = TypeVar("T")

_FIELDS = {
    "q": "query",
    "cursor": "page_token",
    "video_id": "video_ids",
    "status": "state",
    "file": "data",
    "url": "video.uri",
}


@contextmanager
def told(fields: Mapping[str, str] = _FIELDS) -> Iterator[None]:
    """Tells errors in the terms of the protocol; `fields` gives its names for those of the domain."""
    try:
        yield
    except Exception as error:
        understood = known(error)
        if understood is None:
            raise
        if understood.field is not None and understood.field in fields:
            understood.field = fields[understood.field]
        if understood is error:
            raise
        raise understood from error


def unary(call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Makes a method of a servicer tell its errors in the terms of the protocol."""

    @functools.wraps(call)
    async def wrapped(self: object, request: Any, context: Any) -> T:
        with told():
            return await call(self, request, context)

    return wrapped
