"""How long searches took lately: counts by size of time, a minute at a time, however many there were."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MINUTES = 15
"""Minutes that are looked back on."""
_LEAST = 1e-4
_GROWTH = 1.05
"""A bucket ends at this much more than it begins: what is told is off by 5 % at most."""
_BUCKETS = 300
_LOG_GROWTH = math.log(_GROWTH)


@dataclass(frozen=True, slots=True)
class Latency:
    """What searches took in the last minutes. Times are seconds; None where there were none.

    Attributes:
        minutes: How many minutes.
        count: How many searches.
        partial: How many of them did not cover all shards and legs.
        p50: Half took no longer.
        p95: 95 of 100 took no longer.
        p99: 99 of 100 took no longer.
    """

    minutes: int
    count: int
    partial: int
    p50: float | None
    p95: float | None
    p99: float | None


class _Minute:
    __slots__ = ("counts", "number", "partial")

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts = [0] * _BUCKETS
        self.partial = 0


class RecentLatency:
    """Notes how long searches took; takes some 40 kB, whatever the load.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: list[_Minute] = []

    def note(self, seconds: float, *, partial: bool) -> None:
        """Notes a search."""
        number = int(self._clock() // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes = [*self._recent(number), _Minute(number)]
        minute = self._minutes[-1]
        minute.counts[_bucket(seconds)] += 1
        minute.partial += partial

    def look(self) -> Latency:
        """Gives what searches took in the last 15 minutes, the one under way included."""
        recent = self._recent(int(self._clock() // 60))
        counts = [sum(of_bucket) for of_bucket in zip(*(minute.counts for minute in recent), strict=True)]
        total = sum(counts)
        return Latency(
            minutes=MINUTES,
            count=total,
            partial=sum(minute.partial for minute in recent),
            p50=_quantile(counts, total, 0.5),
            p95=_quantile(counts, total, 0.95),
            p99=_quantile(counts, total, 0.99),
        )

    def _recent(self, number: int) -> list[_Minute]:
        return [minute for minute in self._minutes if minute.number > number - MINUTES]


def _bucket(seconds: float) -> int:
    if seconds <= _LEAST:
        return 0
    return min(math.ceil(math.log(seconds / _LEAST) / _LOG_GROWTH), _BUCKETS - 1)


def _quantile(counts: list[int], total: int, share: float) -> float | None:
    if not total:
        return None
    wanted, seen = math.ceil(share * total), 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            # The middle of the bucket, in the scale it is made by.
            return float(_LEAST * _GROWTH ** (bucket - 0.5))
    return None
