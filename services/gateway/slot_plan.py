"""Plans which slots to move so that the shards carry alike, with as few moves as possible."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

SLOT_WORTH = 500
"""Chunks that a slot counts for besides those in it: the videos to come, which fall into all slots alike. About four
hours of speech, so that a small index is spread by slots and a large one by what lies in them."""
TOLERANCE = 0.02
"""Share of the mean by which a shard may carry more or less, where the slots are not alike: what lies in them changes
with every video, and evening that out again and again would be moves for nothing."""

MORE_MOVES = 1.1
"""How many times as many slots may move, so that the shards have as many slots as well as chunks."""


class PlannedMove(NamedTuple):
    """A slot that is to go from one shard to another."""

    slot: int
    source: int
    target: int


def balanced(owners: bytes, shards: int, chunks: Sequence[int] | None = None) -> bytes:
    """Spreads the slots over the shards 0 to `shards` - 1.

    What is on a shard that goes is put where least is. Then the fullest shard gives to the emptiest the slot that
    brings one of them nearest to the mean, again and again, until they are alike. That takes big slots first, which
    makes for few moves; where all slots count alike, fewer are not possible. Last, slots change places where that
    evens out the chunks and moves no more of them: in a small index any slots will do to even out the slots.

    Args:
        owners: Shard of each slot.
        shards: Shards there are to be.
        chunks: Chunks in each slot; None when that is not known, and every slot counts alike.

    Returns:
        The shard each slot is to be at. Where `chunks` is not given the shards differ by one slot at most.
    """
    if chunks is None or len(set(chunks)) == 1:
        return _spread(owners, shards, [1] * len(owners), 0.0)
    weights = [SLOT_WORTH + count for count in chunks]

    def settled(owners: bytes) -> bool:
        """Whether nothing is to move, planned again: what is wanted must stay wanted."""
        return _spread(owners, shards, weights, TOLERANCE) == owners

    wanted = _spread(owners, shards, weights, TOLERANCE)
    if wanted == owners:
        return wanted
    # By their number alone, then the chunks: as good as long as no shard comes out fuller and few more slots move.
    by_number = _evened(owners, _spread(owners, shards, [1] * len(owners), 0.0), shards, chunks, alike=False)
    if settled(by_number) and len(moves(owners, by_number)) <= MORE_MOVES * len(moves(owners, wanted)) + 1:
        return by_number
    evened = _evened(owners, wanted, shards, chunks, alike=True)
    return evened if settled(evened) else wanted


def _spread(owners: bytes, shards: int, weights: Sequence[int], tolerance: float) -> bytes:
    """Spreads the slots so that the shards carry alike by `weights`."""
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


def _evened(owners: bytes, wanted: bytes, shards: int, chunks: Sequence[int], *, alike: bool) -> bytes:
    """Has slots of two shards change places, so that both get nearer to the same number of chunks.

    The shards keep their numbers of slots, and no more slots move than before. With `alike` a shard that carries about
    as much as the mean, slots and chunks together, goes on doing so.
    """
    result = bytearray(wanted)
    held = {shard: [slot for slot, at in enumerate(wanted) if at == shard] for shard in range(shards)}
    load = {shard: sum(chunks[slot] for slot in slots) for shard, slots in held.items()}
    mean = SLOT_WORTH * len(owners) / shards + sum(chunks) / shards
    enough = max(1.0, TOLERANCE * sum(chunks) / shards)

    def carries_well(shard: int, change: int) -> bool:
        off = load[shard] + SLOT_WORTH * len(held[shard]) - mean
        return not alike or abs(off + change) <= max(TOLERANCE * mean, abs(off))

    def change_places() -> bool:
        fullest_first = sorted(load, key=lambda shard: (-load[shard], shard))
        pairs = sorted(combinations(fullest_first, 2), key=lambda pair: load[pair[1]] - load[pair[0]])
        for full, empty in pairs:
            gap = load[full] - load[empty]
            if gap <= enough:
                return False
            best = _best_exchange(owners, (full, held[full]), (empty, held[empty]), chunks, gap)
            if best is None:
                continue
            given, taken = best
            change = chunks[given] - chunks[taken]
            if carries_well(full, -change) and carries_well(empty, change):
                for slot, source, target in ((given, full, empty), (taken, empty, full)):
                    held[source].remove(slot)
                    held[target].append(slot)
                    result[slot] = target
                load[full] -= change
                load[empty] += change
                return True
        return False

    while change_places():
        pass
    return bytes(result)


def _best_exchange(
    owners: bytes, full: tuple[int, Sequence[int]], empty: tuple[int, Sequence[int]], chunks: Sequence[int], gap: int
) -> tuple[int, int] | None:
    """Gives the two slots to exchange between a full shard and an emptier one; None when none are any good."""

    def more_moves(slot: int, at: int, to: int) -> int:
        return (owners[slot] != to) - (owners[slot] != at)

    costs = {slot: more_moves(slot, empty[0], full[0]) for slot in empty[1]}
    # By how many moves more a slot of the full shard may make with those that make so many fewer.
    partners = {
        cost: sorted((chunks[slot], slot) for slot, other in costs.items() if other <= -cost) for cost in (-1, 0, 1)
    }
    found: list[tuple[float, int, int]] = []
    for slot in full[1]:
        those = partners[more_moves(slot, full[0], empty[0])]
        at = bisect_left(those, (chunks[slot] - gap // 2, -1))
        found += [
            (abs(chunks[slot] - count - gap / 2), slot, other)
            for count, other in those[max(at - 1, 0) : at + 1]
            if 0 < chunks[slot] - count < gap
        ]
    if not found:
        return None
    _, given, taken = min(found)
    return given, taken
