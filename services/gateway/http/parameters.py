"""Refuses parameters that nothing is known of: a filter that is misspelt would be none."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fastapi import Request
from fastapi.routing import APIRoute

from services.common.errors import InvalidArgument
from services.gateway.access import signing
from services.gateway.http.meant import meant


async def only_known(request: Request) -> None:
    """A dependency for routes: refuses a query with parameters that the route does not have."""
    if request.scope["query_string"]:
        check(request.query_params.keys(), _of(request.scope["route"]))


def check(given: Iterable[str], known: Collection[str]) -> None:
    """Refuses the first name given that is not known, and says which one is meant, most likely.

    Raises:
        InvalidArgument: There is one.
    """
    for name in given:
        if name not in known:
            raise InvalidArgument(f"there is no parameter {name[:40]!r}; {meant(name, known)}", field=name[:40])


def _of(route: APIRoute) -> tuple[str, ...]:
    own = tuple(field.alias for field in route.dependant.query_params)
    return (*own, *signing.PARAMETERS) if "GET" in (route.methods or ()) else own
