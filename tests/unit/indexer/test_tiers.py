import numpy as np
import pytest

from services.indexer.tiers import MergePolicy, Size

POLICY = MergePolicy(smallest_rows=100, factor=4, largest_rows=5000, deleted_share=0.2, purge_seconds=60)


@pytest.mark.parametrize(
    ("segments", "chosen"),
    [
        ([], []),
        ([(100, 0)], []),
        ([(100, 0)] * 3, []),
        ([(100, 0)] * 4, [0, 1, 2, 3]),
        ([(1, 0), (40, 0), (100, 0), (7, 0)], [0, 1, 2, 3]),  # all small ones are of one size
        ([(100, 0), (1600, 0), (100, 0), (100, 0), (100, 0)], [0, 2, 3, 4]),
        ([(400, 0)] * 3 + [(100, 0)] * 3, []),
        ([(400, 0)] * 4 + [(100, 0)] * 4, [4, 5, 6, 7]),  # the small ones first
        ([(1500, 0)] * 4, [0, 1, 2]),  # all four would be too large
        ([(4000, 0)] * 8, []),  # no two go together
    ],
)
def test_segments_of_one_size_are_merged(segments: list[tuple[int, int]], chosen: list[int]) -> None:
    assert POLICY.choose([Size(live, dead, 0.0) for live, dead in segments]) == chosen


@pytest.mark.parametrize(
    ("segments", "chosen"),
    [
        ([(80, 20), (79, 21)], [1]),  # just beyond the share
        ([(80, 20)], []),
        ([(1000, 900), (10, 90)], [0]),  # the one with most to gain
        ([(0, 50)], [0]),
        ([(5, 5)], []),  # so few rows are not worth it
        ([(4000, 2000)] * 4, [3]),  # too large to be merged, and rewritten all the same
    ],
)
def test_a_wasteful_one_is_written_anew(segments: list[tuple[int, int]], chosen: list[int]) -> None:
    assert POLICY.choose([Size(live, dead, 0.0) for live, dead in segments]) == chosen


def test_what_was_deleted_long_ago_leaves_the_disk() -> None:
    assert POLICY.choose([Size(1000, 1, 59.0), Size(1000, 0, 99.0)]) == []
    assert POLICY.choose([Size(1000, 1, 60.0), Size(1000, 0, 99.0)]) == [0]


def test_merging_ends_and_copies_each_chunk_seldom() -> None:
    """1,000 heads of 100 rows: no chunk is copied more often than there are sizes, and few segments are left."""
    segments: list[tuple[int, int]] = []  # rows, and how often the most copied of them was
    policy = MergePolicy(smallest_rows=100, factor=4, largest_rows=1_000_000)
    for _ in range(1000):
        segments.append((100, 0))
        while chosen := policy.choose([Size(rows, 0, 0.0) for rows, _ in segments]):
            merged = sum(segments[place][0] for place in chosen), 1 + max(segments[place][1] for place in chosen)
            segments = [one for place, one in enumerate(segments) if place not in chosen] + [merged]
    assert sum(rows for rows, _ in segments) == 100_000
    assert len(segments) <= 3 * 6
    assert max(copied for _, copied in segments) <= np.ceil(np.log(1000) / np.log(4))


def test_what_a_filling_left_is_merged_together_after_the_small_ones() -> None:
    left = [Size(900, provisional=True), Size(100), Size(950, provisional=True), Size(1600)]
    assert POLICY.choose(left) == [0, 1, 2]  # with what is no larger
    assert POLICY.choose([*left, *[Size(100)] * 3]) == [1, 4, 5, 6]
    assert POLICY.choose([Size(4000, provisional=True), Size(900, provisional=True)]) == [0, 1]
    assert POLICY.choose([Size(4000, provisional=True), Size(1500, provisional=True)]) == [1]
    # As large as no merge makes one: written anew alone.
    assert POLICY.choose([Size(100), Size(6000, provisional=True)]) == [1]
