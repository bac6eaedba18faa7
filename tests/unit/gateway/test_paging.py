"""Pages of a ranking that changes between them."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.cursor import SearchCursor
from services.gateway.paging import take

DEEPEST = 8


def next_page(
    ranking: list[str], cursor: SearchCursor, *, limit: int, max_seen: int = 600, deeper: int | None = None
) -> tuple[list[str], SearchCursor | None]:
    page = take(
        ranking,
        cursor,
        limit=limit,
        level=cursor.level,
        deeper=deeper,
        deepest=DEEPEST,
        applied={},
        max_seen=max_seen,
    )
    return [ranking[place] for place in page.places], page.cursor


CHANGE = st.tuples(st.sampled_from(["add", "remove", "move", "stay"]), st.integers(0, 10**6), st.integers(0, 10**6))


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.lists(st.lists(CHANGE, max_size=6), max_size=40))
def test_no_video_comes_twice_and_none_that_was_there_all_the_time_is_passed_over(
    count: int, limit: int, changes: list[list[tuple[str, int, int]]]
) -> None:
    """As long as all that was shown is remembered, whatever happens to the ranking."""
    ranking = [f"v{number}" for number in range(count)]
    throughout = set(ranking)
    shown: list[str] = []
    cursor: SearchCursor | None = SearchCursor()
    step = 0
    new = itertools.count()
    while cursor is not None:
        page, cursor = next_page(ranking, cursor, limit=limit)
        shown += page
        for what, where, other in changes[step] if step < len(changes) else []:
            match what:
                case "add":
                    ranking.insert(where % (len(ranking) + 1), f"new{next(new)}")
                case "remove" if ranking:
                    throughout.discard(ranking.pop(where % len(ranking)))
                case "move" if ranking:
                    video = ranking.pop(where % len(ranking))
                    ranking.insert(other % (len(ranking) + 1), video)
        step += 1
    assert len(shown) == len(set(shown))
    assert throughout <= set(shown)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 60))
def test_beyond_what_is_remembered_the_same_holds_for_what_moves_little(seed: int, limit: int) -> None:
    """Of 2000 videos 400 are remembered. Between two pages some come, some go, all move by up to 20 places."""
    rng = random.Random(seed)
    ranking = [f"v{number}" for number in range(2000)]
    throughout = set(ranking)
    shown: list[str] = []
    cursor: SearchCursor | None = SearchCursor()
    pages = 0
    while cursor is not None:
        page, cursor = next_page(ranking, cursor, limit=limit, max_seen=400)
        shown += page
        pages += 1
        for _ in range(3):
            throughout.discard(ranking.pop(rng.randrange(len(ranking))))
            ranking.insert(rng.randrange(len(ranking)), f"new{pages}-{rng.random()}")
        ranking = [
            video for _, video in sorted((place + rng.uniform(-10, 10), video) for place, video in enumerate(ranking))
        ]
        assert cursor is None or len(cursor.seen) <= 400
    assert pages > 30
    assert len(shown) == len(set(shown))
    assert throughout <= set(shown)


def test_a_shard_that_is_away_for_a_page_makes_nothing_come_twice() -> None:
    ranking = [f"v{number}" for number in range(1000)]
    cursor: SearchCursor | None = SearchCursor()
    shown: list[str] = []
    asked = 0
    while cursor is not None:
        asked += 1
        whole = asked % 3 != 0
        page, going_on = next_page(ranking if whole else ranking[::2], cursor, limit=50)
        if going_on is None and not whole:
            continue  # whoever asks sees that the answer is incomplete, and asks again
        cursor = going_on
        shown += page
    assert len(shown) == len(set(shown))
    assert set(shown) == set(ranking)


def test_a_short_page_goes_on_deeper() -> None:
    ranking = ["a", "b"]
    page, cursor = next_page(ranking, SearchCursor(), limit=10, deeper=1)
    assert page == ["a", "b"]
    assert cursor is not None
    assert cursor.level == 1
    page, cursor = next_page(["c", *ranking], cursor, limit=10)
    assert (page, cursor) == (["c"], None)


@pytest.mark.parametrize("found", [0, 3])
def test_the_last_page_has_no_cursor(found: int) -> None:
    assert next_page([f"v{number}" for number in range(found)], SearchCursor(), limit=3)[1] is None


def test_before_anything_is_forgotten_every_page_looks_as_deep_as_it_ever_will() -> None:
    ranking = [f"v{number}" for number in range(1000)]
    cursor: SearchCursor | None = SearchCursor()
    while cursor is not None:
        if cursor.shown > len(cursor.seen):
            assert cursor.level == DEEPEST
        before = cursor
        _, cursor = next_page(ranking, cursor, limit=40, max_seen=200)
        if cursor is not None and cursor.shown > len(cursor.seen):
            assert before.level == DEEPEST
