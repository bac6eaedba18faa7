"""The planner: shards that carry alike, with as few moves as possible."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.ids import SLOTS
from services.gateway.slot_plan import SLOT_WORTH, TOLERANCE, balanced, moves, with_moves

# From seeds: to draw 256 numbers one by one takes hypothesis longer than all that is tested.
SEEDS = st.integers(0, 2**32).map(random.Random)
OWNERS = st.builds(lambda rng, shards: bytes(rng.randrange(shards) for _ in range(SLOTS)), SEEDS, st.integers(1, 12))
CHUNKS = st.builds(lambda rng, most: [rng.randrange(most) for _ in range(SLOTS)], SEEDS, st.integers(1, 100_000))


def even(shards: int) -> bytes:
    return bytes(slot * shards // SLOTS for slot in range(SLOTS))


def fewest(owners: bytes, shards: int) -> int:
    """Moves that no plan can do without, when every shard is to have SLOTS / shards slots, rounded up or down."""
    counts = Counter(owners)
    floor, ceilings = divmod(SLOTS, shards)
    ordered = sorted((counts[shard] for shard in range(shards)), reverse=True)
    # The fullest may keep one more. What is above its quota must go, and so must all on shards that go.
    kept = sum(min(count, floor + (rank < ceilings)) for rank, count in enumerate(ordered))
    return SLOTS - kept


@settings(max_examples=40, deadline=None)
@given(owners=OWNERS, shards=st.integers(1, 16))
def test_slots_that_count_alike_are_spread_evenly_with_the_fewest_moves(owners: bytes, shards: int) -> None:
    wanted = balanced(owners, shards)
    counts = Counter(wanted)
    assert set(counts) <= set(range(shards))
    assert max(counts[shard] for shard in range(shards)) - min(counts[shard] for shard in range(shards)) <= 1
    assert len(moves(owners, wanted)) == fewest(owners, shards)


@settings(max_examples=40, deadline=None)
@given(owners=OWNERS, shards=st.integers(1, 8), chunks=CHUNKS)
def test_slots_of_different_weight_leave_shards_that_carry_alike(owners: bytes, shards: int, chunks: list[int]) -> None:
    wanted = balanced(owners, shards, chunks)
    load = Counter(dict.fromkeys(range(shards), 0))
    for slot, owner in enumerate(wanted):
        load[owner] += chunks[slot] + SLOT_WORTH
    assert set(load) == set(range(shards))
    mean = sum(load.values()) / shards
    # Within the tolerance, but for the slot that is too big to help.
    assert max(load.values()) - min(load.values()) <= 2 * TOLERANCE * mean + max(chunks) + SLOT_WORTH


@settings(max_examples=40, deadline=None)
@given(owners=OWNERS, shards=st.integers(1, 8), chunks=CHUNKS)
def test_a_plan_carried_out_leaves_nothing_to_do(owners: bytes, shards: int, chunks: list[int]) -> None:
    wanted = balanced(owners, shards, chunks)
    assert balanced(wanted, shards, chunks) == wanted


def test_two_shards_become_three_and_two_again_by_a_third_of_the_slots() -> None:
    three = balanced(even(2), 3)
    assert len(moves(even(2), three)) == 85
    assert {move.target for move in moves(even(2), three)} == {2}
    two = balanced(three, 2)
    assert {move.source for move in moves(three, two)} == {2}


def test_full_slots_move_first_so_that_few_have_to() -> None:
    chunks = [0] * SLOTS
    for slot in range(16):
        chunks[slot] = 100_000
    wanted = balanced(even(2), 2, chunks)
    moved = moves(even(2), wanted)
    assert sum(chunks[move.slot] for move in moved) == 800_000
    assert len(moved) <= 9  # eight full ones, and at most one to even out what the slots count for themselves


def test_an_almost_empty_index_is_spread_by_slots() -> None:
    chunks = [0] * SLOTS
    chunks[200] = 40
    counts = Counter(balanced(even(2), 4, chunks))
    assert max(counts.values()) - min(counts.values()) <= 8


def few_chunks(per_shard: tuple[int, ...], slots: int, seed: int) -> list[int]:
    """Some chunks in a few slots of each shard."""
    rng = random.Random(seed)
    chunks = [0] * SLOTS
    for shard, total in enumerate(per_shard):
        mine = rng.sample([slot for slot, owner in enumerate(even(len(per_shard))) if owner == shard], slots)
        for _ in range(total):
            chunks[rng.choice(mine)] += 1
    return chunks


def test_some_thousand_chunks_are_spread_as_well_as_the_slots() -> None:
    chunks = few_chunks((3000, 2500), 60, 1)
    three = balanced(even(2), 3, chunks)
    assert len(moves(even(2), three)) == 85
    held = [sum(chunks[slot] for slot, at in enumerate(three) if at == shard) for shard in range(3)]
    assert max(held) - min(held) <= 100, held


@pytest.mark.parametrize("seed", range(5))
def test_few_chunks_in_few_slots_are_spread_as_well_as_the_slots(seed: int) -> None:
    chunks = few_chunks((169, 140), 20, seed)
    three = balanced(even(2), 3, chunks)
    slots = Counter(three).values()
    assert max(slots) - min(slots) <= 2
    assert len(moves(even(2), three)) <= 85
    held = [sum(chunks[slot] for slot, at in enumerate(three) if at == shard) for shard in range(3)]
    assert max(held) - min(held) <= 12, held
    two = balanced(three, 2, chunks)
    assert {move.source for move in moves(three, two)} == {2}
    held = [sum(chunks[slot] for slot, at in enumerate(two) if at == shard) for shard in range(2)]
    assert max(held) - min(held) <= 12, held


@settings(max_examples=40, deadline=None)
@given(owners=OWNERS, shards=st.integers(1, 16), most=st.integers(1, 5), rng=SEEDS)
def test_few_chunks_cost_about_no_more_moves(owners: bytes, shards: int, most: int, rng: random.Random) -> None:
    chunks = [rng.randrange(most + 1) if rng.random() < 0.1 else 0 for _ in range(SLOTS)]
    wanted = balanced(owners, shards, chunks)
    assert len(moves(owners, wanted)) <= fewest(owners, shards) + shards
    assert balanced(wanted, shards, chunks) == wanted


def test_moves_name_what_differs() -> None:
    owners = even(2)
    assert moves(owners, owners) == []
    assert moves(owners, with_moves(owners, {3: 1, 4: 0})) == [(3, 0, 1)]
