"""Who makes the request under way, and what they may do and see.

The edges (`http/access.py`, `rpc_access.py`) find out who calls and put it where `caller()` finds it; what reads
documents asks there (`visible.py`). So a route cannot forget to pass it on, and work nobody called for has no caller:
asking then is an error, and not a right to everything.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from services.common.errors import PermissionDenied, Unauthenticated


class Scope(enum.StrEnum):
    """What a key may do. `admin` may do all of it, and to all collections."""

    READ = "read"
    UPLOAD = "upload"
    ADMIN = "admin"


def unsigned(path: str) -> str:
    """Gives a path as it is: for callers whose links need no signature."""
    return path


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who calls.

    Attributes:
        key_id: The key they called with; empty where none is needed.
        scopes: What they may do.
        collections: Whose videos are there for them; None for all videos, those of no collection too.
        default_collection: Where their uploads go that name no collection; empty for none.
        bytes_per_day: Bytes of media they may put in on a day; None for any number.
        videos_per_day: Videos they may make on a day; None for any number.
        link: Makes a path one that a browser can follow without the key: `<video src>` sends no headers.
    """

    key_id: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None = None
    default_collection: str = ""
    bytes_per_day: int | None = None
    videos_per_day: int | None = None
    link: Callable[[str], str] = unsigned

    def may(self, scope: Scope) -> bool:
        """Says whether they may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def check(self, *scopes: Scope) -> None:
        """Refuses who may not do all of this. Raises PermissionDenied."""
        for scope in scopes:
            if not self.may(scope):
                raise PermissionDenied(
                    f"this key has no scope {scope.value!r}; use one that has it",
                    reason="SCOPE_MISSING",
                    metadata={"scope": scope.value},
                )

    def place(self, collection: str) -> str:
        """Gives the collection in which a video of theirs comes that is to be in `collection`; empty names none.

        The answer does not depend on which collections there are.

        Raises:
            PermissionDenied: It is not one of theirs.
        """
        chosen = collection or self.default_collection
        if self.collections is not None and chosen not in self.collections:
            own = ", ".join(sorted(self.collections))
            into = f"{chosen!r}" if chosen else "no collection"
            raise PermissionDenied(
                f"this key may not put videos into {into}; its collections are {own}",
                reason="COLLECTION_NOT_ALLOWED",
                field="collection",
            )
        return chosen


ANYBODY = Caller("", frozenset(Scope))
"""Who calls where no key is needed."""

_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def enter(who: Caller) -> None:
    """Says who makes the request under way. Each request is a task of its own, so there is nothing to take back."""
    _caller.set(who)


def caller() -> Caller:
    """Gives who makes the request under way. Raises Unauthenticated where nobody does."""
    who = _caller.get()
    if who is None:
        raise Unauthenticated("nobody is known to call; this is a mistake of the gateway's")
    return who


def may(scope: Scope) -> bool:
    """Says whether who calls may do this; nobody may do anything."""
    who = _caller.get()
    return who is not None and who.may(scope)


def link(path: str) -> str:
    """Gives a path as the caller's browser can follow it; as it is where nobody calls."""
    who = _caller.get()
    return path if who is None else who.link(path)
