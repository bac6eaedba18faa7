"""Which segments to merge next: those of about one size, so that a chunk is copied only as often as sizes grow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """When segments are merged.

    Attributes:
        smallest_rows: Segments up to this size count as one size.
        factor: So many segments of a size are merged into one of the next size.
        largest_rows: A merge makes nothing larger than this.
        deleted_share: A segment with a larger share of dead rows is written anew.
    """

    smallest_rows: int = 4096
    factor: int = 4
    largest_rows: int = 4_000_000
    deleted_share: float = 0.2

    def choose(self, segments: Sequence[tuple[int, int]]) -> list[int]:
        """Gives the places of the segments to merge next; one place to write one anew; none when all is well.

        Args:
            segments: Living and dead rows of each segment.
        """
        tiers: defaultdict[int, list[int]] = defaultdict(list)
        for place, (live, _) in enumerate(segments):
            tiers[self._tier(live)].append(place)
        for _, places in sorted(tiers.items()):
            if len(places) >= self.factor:
                chosen = self._fitting(places, segments)
                if len(chosen) > 1:
                    return chosen
        wasteful = [
            (dead, place) for place, (live, dead) in enumerate(segments) if dead > self.deleted_share * (live + dead)
        ]
        return [max(wasteful)[1]] if wasteful else []

    def _tier(self, live: int) -> int:
        return max(0, math.ceil(math.log(max(live, 1) / self.smallest_rows, self.factor)))

    def _fitting(self, places: Sequence[int], segments: Sequence[tuple[int, int]]) -> list[int]:
        chosen: list[int] = []
        rows = 0
        for place in sorted(places, key=lambda place: segments[place][0]):
            rows += segments[place][0]
            if rows > self.largest_rows:
                break
            chosen.append(place)
        return sorted(chosen)
