"""A numbered change of what MongoDB holds, forward and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.common.mongo import Database

Steps = AsyncGenerator[int, None]
"""A change in bounded steps: what each of them changed. Between two of them others may be at it, or the process end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A change of indexes or documents.

    Each part may be ended at any point and be done again from its beginning, by several processes at once if need be,
    while services of the release before and of this one read and write: so `up` only adds, and code reads documents
    with and without what it adds.

    Attributes:
        number: Its place in the order, from 1; the schema's version when it is made.
        title: What it does, for operators.
        readable_from: The lowest schema version that a release must know to work with what is there then; 0 where
            any release does.
        up: Makes it.
        down: Takes it back; leaves documents as they were.
        left: Counts what `up` would change now.
        made: Counts what `down` would change now.
    """

    number: int
    title: str
    readable_from: int = 0
    up: Callable[[Database], Steps]
    down: Callable[[Database], Steps]
    left: Callable[[Database], Awaitable[int]]
    made: Callable[[Database], Awaitable[int]]


def in_order(migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Gives them as they are. Raises ValueError unless their numbers are 1, 2, 3 … and none is readable from later."""
    for number, migration in enumerate(migrations, start=1):
        if migration.number != number:
            raise ValueError(f"migration {migration.number} ({migration.title}) stands where {number} is to be")
        if not 0 <= migration.readable_from <= number:
            raise ValueError(f"migration {number} cannot be readable from {migration.readable_from} on")
    return tuple(migrations)
