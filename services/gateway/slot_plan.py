"""Plans which slots to move so that the shards carry alike, with as few moves as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SLOT_WORTH = 500
"""Chunks that a slot counts for besides those in it: the videos to come, which fall into all slots alike. About four
hours of speech, so that a small index is spread by slots and a large one by what lies in them."""
TOLERANCE = 0.02
"""Share of the mean by which a shard may carry more or less, where the slots are not alike: what lies in them changes
with every video, and evening that out again and again would be moves for nothing."""


class PlannedMove(NamedTuple):
    """A slot that is to go from one shard to another."""

    slot: int
    source: int
    target: int


def balanced(owners: bytes, shards: int, chunks: Sequence[int] | None = None) -> bytes:
    """Spreads the slots over the shards 0 to `shards` - 1.

    What is on a shard that goes is put where least is. Then the fullest shard gives to the emptiest the slot that
    brings one of them nearest to the mean, again and again, until they are alike. That takes big slots first, which
    makes for few moves; where all slots count alike, fewer are not possible.

    Args:
        owners: Shard of each slot.
        shards: Shards there are to be.
        chunks: Chunks in each slot; None when that is not known, and every slot counts alike.

    Returns:
        The shard each slot is to be at. Where `chunks` is not given the shards differ by one slot at most.
    """
    weights = [SLOT_WORTH + count for count in chunks] if chunks is not None else [1] * len(owners)
    tolerance = TOLERANCE if chunks is not None and len(set(chunks)) > 1 else 0.0
    wanted = list(owners)
    held: dict[int, list[int]] = {shard: [] for shard in range(shards)}
    homeless: list[int] = []
    for slot, owner in enumerate(owners):
        (held[owner] if owner < shards else homeless).append(slot)
    load = {shard: sum(weights[slot] for slot in slots) for shard, slots in held.items()}

    def put(slot: int, shard: int) -> None:
        wanted[slot] = shard
        held[shard].append(slot)
        load[shard] += weights[slot]

    for slot in sorted(homeless, key=lambda slot: (-weights[slot], slot)):
        put(slot, min(load, key=lambda shard: (load[shard], shard)))
    mean = sum(weights) / shards
    while max(load.values()) > mean * (1 + tolerance) or min(load.values()) < mean * (1 - tolerance):
        receiver = min(load, key=lambda shard: (load[shard], shard))
        for donor in sorted(load, key=lambda shard: (-load[shard], shard)):
            given = _best(held[donor], weights, load[donor], load[receiver], mean)
            if given is not None:
                held[donor].remove(given)
                load[donor] -= weights[given]
                put(given, receiver)
                break
        else:
            break
    return bytes(wanted)


def moves(owners: bytes, wanted: bytes) -> list[PlannedMove]:
    """Gives what has to move to get from one assignment to another, by slot."""
    pairs = enumerate(zip(owners, wanted, strict=True))
    return [PlannedMove(slot, source, target) for slot, (source, target) in pairs if source != target]


def with_moves(owners: bytes, targets: Mapping[int, int]) -> bytes:
    """Gives an assignment with some slots put elsewhere."""
    wanted = bytearray(owners)
    for slot, target in targets.items():
        wanted[slot] = target
    return bytes(wanted)


def _best(slots: Sequence[int], weights: Sequence[int], donor: int, receiver: int, mean: float) -> int | None:
    """Gives the slot to hand over; None when none makes the two more alike."""
    room = min(donor - mean, mean - receiver)
    # The sum of the squares has to fall with every move, or this would not end.
    helpful = [slot for slot in slots if weights[slot] < donor - receiver]
    return min(helpful, key=lambda slot: (abs(weights[slot] - room), slot)) if helpful else None
