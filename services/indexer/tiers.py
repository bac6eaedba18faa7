"""Which segments to merge next: those of about one size, so that a chunk is copied only as often as sizes grow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_FEW: Final = 8


class Size(NamedTuple):
    """What counts of a segment.

    Attributes:
        live: Its living rows.
        dead: Its dead rows.
        dead_seconds: For how many seconds it has had one of these.
        provisional: Whether its rows are more than should be compared one by one, as a filling leaves them.
    """

    live: int
    dead: int = 0
    dead_seconds: float = 0.0
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """When segments are merged.

    Attributes:
        smallest_rows: Segments up to this size count as one size.
        factor: So many segments of a size are merged into one of the next size.
        largest_rows: A merge makes nothing larger than this.
        deleted_share: A segment with a larger share of dead rows is written anew, if they are not few.
        purge_seconds: So is one that has had a dead row for so long: what was deleted leaves the disk, too.
    """

    smallest_rows: int = 4096
    factor: int = 4
    largest_rows: int = 4_000_000
    deleted_share: float = 0.2
    purge_seconds: float = 3600.0

    def choose(self, segments: Sequence[Size]) -> list[int]:
        """Gives the places of the segments to merge next; one place to write one anew; none when all is well."""
        tiers: defaultdict[int, list[int]] = defaultdict(list)
        for place, size in enumerate(segments):
            if not size.provisional:
                tiers[self._tier(size.live)].append(place)
        for _, places in sorted(tiers.items()):
            if len(places) >= self.factor:
                chosen = self._fitting(places, segments)
                if len(chosen) > 1:
                    return chosen
        if provisional := [size.live for size in segments if size.provisional]:
            # All at once, with what is no larger: the index of the vectors takes by far the most of a merge, and so it
            # is built only once.
            chosen = self._fitting([at for at, size in enumerate(segments) if size.live <= max(provisional)], segments)
            if any(segments[place].provisional for place in chosen):
                return chosen
            return [next(place for place, size in enumerate(segments) if size.provisional)]
        wasteful = [(size.dead, place) for place, size in enumerate(segments) if self._is_wasteful(size)]
        return [max(wasteful)[1]] if wasteful else []

    def _is_wasteful(self, size: Size) -> bool:
        many = size.dead > self.deleted_share * (size.live + size.dead) and size.dead * _FEW >= self.smallest_rows
        return many or (size.dead > 0 and size.dead_seconds >= self.purge_seconds)

    def _tier(self, live: int) -> int:
        return max(0, math.ceil(math.log(max(live, 1) / self.smallest_rows, self.factor)))

    def _fitting(self, places: Sequence[int], segments: Sequence[Size]) -> list[int]:
        chosen: list[int] = []
        rows = 0
        for place in sorted(places, key=lambda place: segments[place].live):
            rows += segments[place].live
            if rows > self.largest_rows:
                break
            chosen.append(place)
        return sorted(chosen)
