"""What is asked most, and what finds nothing, in bounded memory.

Counted by the Space-Saving algorithm: Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k
Elements in Data Streams", ICDT 2005. Whatever was asked more often than one in as many times as there are places is
among those kept, and no count is too small.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

PLACES = 500
SHOWN = 20
_LONGEST = 200


@dataclass(slots=True)
class Counted:
    """A query and how often it was asked.

    Attributes:
        query: As it was asked last.
        count: How often, at most.
        too_many: By how much `count` may be too large.
        last_at: When it was asked last.
    """

    query: str
    count: int
    too_many: int
    last_at: dt.datetime


class FrequentQueries:
    """Counts queries. Upper and lower case are the same.

    Args:
        places: Queries kept at most.
        now: Says what time it is.
    """

    def __init__(
        self, *, places: int = PLACES, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    ) -> None:
        self._places = places
        self._now = now
        self._counted: dict[str, Counted] = {}

    def note(self, query: str) -> None:
        """Notes that a query was asked."""
        shown = query[:_LONGEST]
        key = shown.casefold()
        found = self._counted.get(key)
        if found is not None:
            found.count += 1
            found.query, found.last_at = shown, self._now()
            return
        instead = 0
        if len(self._counted) >= self._places:
            least = min(self._counted, key=lambda one: self._counted[one].count)
            instead = self._counted.pop(least).count
        self._counted[key] = Counted(shown, instead + 1, instead, self._now())

    def top(self, most: int = SHOWN) -> list[Counted]:
        """Gives those asked most, the most frequent first; of equals the one asked last."""
        return sorted(self._counted.values(), key=lambda one: (one.count, one.last_at), reverse=True)[:most]


class QueryLog:
    """What was asked at this gateway since it started: the most frequent, and those that found nothing."""

    def __init__(self) -> None:
        self.frequent = FrequentQueries()
        self.without_results = FrequentQueries()

    def note(self, query: str, *, found: bool) -> None:
        """Notes a query."""
        self.frequent.note(query)
        if not found:
            self.without_results.note(query)
