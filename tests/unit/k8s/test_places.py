"""Places of pods: nobody's changes while it serves, no two are the same, and no shard ever has fewer replicas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.k8s.places import (
    Place,
    Retirement,
    by_number,
    extended,
    grown,
    parse,
    reassigned,
    replicas_of,
    retirement,
    written,
)
from services.indexer.places import parse_places, place_of


def test_by_number_and_written_down_are_the_same_to_the_pods() -> None:
    places = by_number(6, 3)
    assert written(places) == "s0r0,s1r0,s2r0,s0r1,s1r1,s2r1"
    assert parse(written(places)) == places
    for number, place in enumerate(places):
        assert place_of(number, (), 3) == place_of(number, parse_places(written(places)), 3) == place


@pytest.mark.parametrize("text", ["s0", "r1s0", "s0r0 x"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        parse(text)


def test_new_shards_come_at_the_end() -> None:
    places = by_number(4, 2)
    assert written(grown(places, 3, 2)) == "s0r0,s1r0,s0r1,s1r1,s2r0,s2r1"
    assert written(grown(places, 4, 2)) == "s0r0,s1r0,s0r1,s1r1,s2r0,s3r0,s2r1,s3r1"
    assert grown(places, 2, 2) == places
    assert grown(places, 1, 2) == places


def test_the_last_pods_go_when_those_that_go_are_the_last() -> None:
    gone = retirement(parse("s0r0,s1r0,s0r1,s1r1,s2r0,s2r1"), 2, 2)
    assert (gone.reassignments, gone.pods) == ((), 4)


def test_free_pods_take_over_from_last_ones_that_serve() -> None:
    places = by_number(6, 3)  # of three shards; s2r0 is pod 2
    gone = retirement(places, 2, 2)
    assert gone.pods == 4
    assert [(change.ordinal, str(change.place)) for change in gone.reassignments] == [(2, "s1r2")]
    after = reassigned(places, gone.reassignments[0])
    assert written(after[: gone.pods]) == "s0r0,s1r0,s1r2,s0r1"
    assert retirement(after, 2, 2) == Retirement((), 4), "planned again, it is what is left"


def test_a_shard_that_has_more_than_the_others_gives() -> None:
    places = grown(by_number(5, 2), 3, 2)
    assert written(places) == "s0r0,s1r0,s0r1,s1r1,s0r2,s2r0,s2r1"
    gone = retirement(places, 3, 2)
    assert [(change.ordinal, str(change.place)) for change in gone.reassignments] == [(4, "s2r2")]


def test_pods_beyond_what_is_written_are_told_as_they_see_it() -> None:
    places = parse("s0r0,s1r0,s0r1,s1r1,s2r0,s2r1")
    more = extended(places, 9)
    assert more[6:] == (Place(0, 2), Place(1, 2), Place(2, 2))
    assert [tuple(place) for place in more] == [tuple(place_of(n, parse_places(written(places)), 2)) for n in range(9)]
    assert extended(places, 4) == places[:4]


@given(first=st.integers(1, 6), replicas=st.integers(1, 4), wanted=st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_from_any_number_to_any_other_and_on(first: int, replicas: int, wanted: list[int]) -> None:
    places = by_number(first * replicas, first)
    for shards in wanted:
        present = 1 + max(place.shard for place in places)
        more = grown(places, shards, replicas)
        assert more[: len(places)] == places, "no pod that is there changes"
        assert len(set(more)) == len(more)
        assert replicas_of(more, shards) >= replicas
        assert len(more) - len(places) <= max(0, shards - present) * replicas, "and none is made that is not needed"

        gone = retirement(more, shards, replicas)
        at = more
        for change in gone.reassignments:
            assert at[change.ordinal].shard >= shards, "only one that is free"
            assert change.ordinal < gone.pods
            at = reassigned(at, change)
            assert len(set(at)) == len(at), "a place is of one pod"
            assert replicas_of(at, shards) >= replicas
        assert all(place.shard < shards for place in at[: gone.pods])
        assert all(place.shard >= shards or replicas_of(at[: gone.pods], shards) >= replicas for place in at)
        assert {place.shard for place in at[: gone.pods]} == set(range(shards))
        assert len(at[: gone.pods]) == shards * replicas
        # Who copies snapshots into the object store.
        assert all(Place(shard, 0) in at[: gone.pods] for shard in range(shards))
        places = at[: gone.pods]
