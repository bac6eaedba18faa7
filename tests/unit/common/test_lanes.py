"""Lanes: which slice goes into which, and which lane is asked first."""

from collections import Counter
from itertools import pairwise

import pytest

from earmark.events.v1 import events_pb2 as pb
from services.common.events import topology
from services.common.events.sources import Turns
from services.common.ids import new_video_id, slice_id


@pytest.mark.parametrize(
    ("index", "lane"), [(0, 0), (1, 1), (2, 1), (3, 2), (6, 2), (7, 3), (30, 4), (31, 5), (62, 5), (63, 6), (99999, 6)]
)
def test_the_lane_follows_from_the_position_in_the_video(index: int, lane: int) -> None:
    assert topology.lane_of(pb.SliceCut(slice_id=slice_id(index))) == lane


def test_other_events_have_no_lanes() -> None:
    assert topology.lane_of(pb.SliceEmbedded(slice_id="00040"), bulk=True) == 0
    assert topology.lane_of(pb.SliceCut(slice_id="odd"), bulk=True) == 0


def test_what_was_imported_has_a_lane_of_its_own_wherever_in_the_video_it_is() -> None:
    for index in (0, 40):
        message = pb.SliceTranscribed(slice_id=slice_id(index))
        assert topology.lane_of(message) == 0
        assert topology.lane_of(message, bulk=True, place=index) == topology.BULK_LANE


@pytest.mark.parametrize(
    ("place", "lane"), [(0, 0), (1, 0), (2, 2), (5, 2), (6, 3), (13, 3), (14, 4), (66, 4), (99999, 4)]
)
def test_of_slices_owed_at_once_only_the_first_go_where_what_was_just_heard_goes(place: int, lane: int) -> None:
    assert topology.lane_of(pb.SliceTranscribed(slice_id=slice_id(40)), place=place) == lane


@pytest.mark.parametrize(
    ("work", "kind", "lanes"),
    [("recognizer", "slice.cut", topology.LANES), ("embedder", "slice.transcribed", len(topology.GIVEN_LANES) + 1)],
)
def test_a_lane_shows_in_the_subject_and_not_in_the_kind(work: str, kind: str, lanes: int) -> None:
    subjects = [topology.subject(kind, new_video_id(), lane) for lane in range(lanes)]
    assert {topology.kind_of(subject) for subject in subjects} == {kind}
    rows = topology.lanes_of(work)
    # Each subject is read by exactly one of the lanes.
    for subject in subjects:
        assert sum(subject.startswith(row.subject.removesuffix(">")) for row in rows) == 1
    assert [topology.work_of(row.name) for row in rows] == [work] * lanes


def test_what_was_imported_is_asked_for_last() -> None:
    assert topology.lanes_of("embedder")[-1].name == f"embedder-{topology.BULK_LANE}"


def test_early_lanes_go_first_and_no_lane_starves() -> None:
    turns = Turns(7)
    orders = [turns.next() for _ in range(120)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    first = Counter(order[0] for order in orders)
    assert first[0] == 60
    assert all(first[lane] == 10 for lane in range(1, 7))
    # Nobody waits more than 12 turns, wherever it begins.
    for lane in range(7):
        places = [i for i, order in enumerate(orders) if order[0] == lane]
        assert all(b - a <= 12 for a, b in pairwise(places))


def test_one_lane_needs_no_turns() -> None:
    turns = Turns(1)
    assert [turns.next() for _ in range(3)] == [[0], [0], [0]]
