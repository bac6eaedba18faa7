"""Which replica of which shard each pod of the indexers is, and how that changes with the number of shards.

By default pod n is replica n // SHARDS of shard n % SHARDS. With another SHARDS the same rule would give most pods
another place at once, while their volumes hold, and the mesh expects, what they were. So from the first change on
places are written down by number, and a written place is never changed while its shard has slots:

* more shards: their replicas are put at the end, as new pods;
* fewer: once the last slot has left the shards that go, their pods are free. A StatefulSet loses its last pods first,
  so if one of those still serves a shard that stays, a free pod before it is made one more replica of that shard, under
  a number nobody has had, fills itself, and only then the last pods go.

At every moment no two pods have the same place, and each shard has as many replicas as before or more. A pod that reads
its place later than another, or again after a crash, therefore does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_PLACE = re.compile(r"s(\d+)r(\d+)")


class Place(NamedTuple):
    """A replica of a shard."""

    shard: int
    replica: int

    def __str__(self) -> str:
        return f"s{self.shard}r{self.replica}"


class Reassignment(NamedTuple):
    """A free pod that is to be another replica."""

    ordinal: int
    place: Place


class Retirement(NamedTuple):
    """How the pods of shards that are no more go: first the reassignments, one by one, then the last pods."""

    reassignments: tuple[Reassignment, ...]
    pods: int
    """Pods that stay."""


def by_number(pods: int, shards: int) -> tuple[Place, ...]:
    """Gives the places of pods that nobody has written down: shard n % shards, replica n // shards."""
    return tuple(Place(number % shards, number // shards) for number in range(pods))


def parse(text: str) -> tuple[Place, ...]:
    """Reads `s0r0,s1r0`. Raises ValueError."""
    found = [(part, _PLACE.fullmatch(part)) for part in filter(None, re.split(r"[,\s]+", text))]
    for part, match in found:
        if match is None:
            raise ValueError(f"{part!r} is no place, such as s0r0")
    return tuple(Place(int(match[1]), int(match[2])) for _, match in found if match is not None)


def written(places: Sequence[Place]) -> str:
    """Writes places as indexers read them (EARMARK_INDEXER_PLACES)."""
    return ",".join(map(str, places))


def extended(places: Sequence[Place], pods: int) -> tuple[Place, ...]:
    """Gives the places of more pods than are written down, as those pods understand it themselves."""
    given = list(places[:pods])
    if len(given) == pods or not places:
        return tuple(given)
    shards, first = 1 + max(place.shard for place in places), 1 + max(place.replica for place in places)
    given += [Place(further % shards, first + further // shards) for further in range(pods - len(places))]
    return tuple(given)


def replicas_of(places: Sequence[Place], shards: int) -> int:
    """Gives how many replicas each of the first `shards` shards has at least."""
    return min(sum(place.shard == shard for place in places) for shard in range(shards))


def grown(places: Sequence[Place], shards: int, replicas: int) -> tuple[Place, ...]:
    """Gives the places with new pods at the end, so that each of the shards 0 to `shards` - 1 has `replicas`."""
    present = list(places)
    for level in range(1, replicas + 1):  # every shard its first replica before one has its second
        for shard in range(shards):
            if sum(place.shard == shard for place in present) < level:
                present.append(Place(shard, _free_number(present, shard)))
    return tuple(present)


def retirement(places: Sequence[Place], shards: int, replicas: int) -> Retirement:
    """Plans how to be left with `replicas` of each shard below `shards`, on the first pods.

    No shard from there on may have a slot any more. Planned again after a part of it was done, it gives the rest.
    """
    staying = shards * replicas
    present = list(places)

    def spare(number: int) -> bool:
        """Whether a pod among those that stay is of a shard that goes, or one more than its shard is to have."""
        shard = present[number].shard
        return shard >= shards or sum(place.shard == shard for place in present[:staying]) > replicas

    reassignments = []
    for shard in range(shards):
        while sum(place.shard == shard for place in present[:staying]) < replicas:
            free = [number for number in range(len(present[:staying])) if present[number].shard >= shards]
            number = free[0] if free else max(number for number in range(staying) if spare(number))
            # Beside the one that goes, so under a number nobody has.
            present[number] = Place(shard, _free_number([*places, *present], shard))
            reassignments.append(Reassignment(number, present[number]))
    return Retirement(tuple(reassignments), staying)


def reassigned(places: Sequence[Place], change: Reassignment) -> tuple[Place, ...]:
    """Gives the places after a reassignment."""
    changed = list(places)
    changed[change.ordinal] = change.place
    return tuple(changed)


def _free_number(places: Sequence[Place], shard: int) -> int:
    return 1 + max((place.replica for place in places if place.shard == shard), default=-1)
