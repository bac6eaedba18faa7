"""Which replica of which shard the indexer of some number is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_PLACE = re.compile(r"s(\d+)r(\d+)")


class Place(NamedTuple):
    """Where a replica stands in the index."""

    shard: int
    replica: int


def parse_places(text: str) -> tuple[Place, ...]:
    """Reads `s0r0,s1r0,s0r1`: the places of the indexers 0, 1, 2.

    Raises:
        ValueError: It is of another form, or two have the same place.
    """
    places = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        match = _PLACE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not of the form s<shard>r<replica>")
        places.append(Place(int(match[1]), int(match[2])))
    if len(set(places)) < len(places):
        raise ValueError(f"two indexers have the same place in {text!r}")
    return tuple(places)


def place_of(ordinal: int, places: Sequence[Place], shards: int) -> Place:
    """Gives the place of an indexer.

    Args:
        ordinal: Its number.
        places: Those that are given, by number.
        shards: Shards there were when the index was begun; counts only where no place is given.
    """
    if ordinal < len(places):
        return places[ordinal]
    if places:
        # Further replicas, behind every number that is taken.
        shards = 1 + max(place.shard for place in places)
        further, first = ordinal - len(places), 1 + max(place.replica for place in places)
        return Place(further % shards, first + further // shards)
    return Place(ordinal % shards, ordinal // shards)
