from collections.abc import Callable

import numpy as np
import pytest

from services.common.ids import SLOTS, slot_of
from services.indexer.chunks import Filter, VideoInfo
from services.indexer.videos import NOBODY, VideoTable

INFOS = {
    "vid_a": VideoInfo("A", "garden", ("red", "green"), 1000.0, 60.0),
    "vid_b": VideoInfo("B", "garden", ("red",), 2000.0, 600.0),
    "vid_c": VideoInfo("C", "", (), 3000.0, None),
    "vid_d": VideoInfo("D", "kitchen", ("green",), 4000.0, 6000.0),
}


@pytest.fixture
def table() -> VideoTable:
    table = VideoTable()
    for video_id, info in INFOS.items():
        table.count(np.array([table.put(video_id, info)] * 2, np.int32), 1)
    return table


def chosen(table: VideoTable, which: Filter, slots: frozenset[int] | None = None) -> set[str]:
    mask = table.select(which, slots)
    assert mask is not None
    return {table.video_id(number) for number in np.flatnonzero(mask).tolist()}


@pytest.mark.parametrize(
    ("which", "passes"),
    [
        (Filter(frozenset({"vid_a", "vid_c", "vid_x"})), lambda v, i: v in {"vid_a", "vid_c"}),
        (Filter(frozenset({"vid_x"})), lambda v, i: False),
        (Filter(collections=frozenset({"garden", "cellar"})), lambda v, i: i.collection == "garden"),
        (Filter(collections=frozenset({"cellar"})), lambda v, i: False),
        (Filter(tags=frozenset({"red"})), lambda v, i: "red" in i.tags),
        (Filter(tags=frozenset({"red", "green"})), lambda v, i: v == "vid_a"),
        (Filter(tags=frozenset({"red", "blue"})), lambda v, i: False),
        (Filter(uploaded_since=2000.0), lambda v, i: i.uploaded_at >= 2000),
        (Filter(uploaded_before=2000.0), lambda v, i: i.uploaded_at < 2000),
        (Filter(uploaded_since=2000.0, uploaded_before=4000.0), lambda v, i: v in {"vid_b", "vid_c"}),
        (Filter(min_duration=600.0), lambda v, i: v in {"vid_b", "vid_d"}),  # of unknown length: neither
        (Filter(max_duration=600.0), lambda v, i: v in {"vid_a", "vid_b"}),
        (Filter(min_duration=0.0), lambda v, i: v != "vid_c"),
        (Filter(frozenset({"vid_a", "vid_b"}), tags=frozenset({"green"})), lambda v, i: v == "vid_a"),
        (Filter(uploaded_since=0.0), lambda v, i: True),
    ],
)
def test_a_filter_lets_through_just_those(
    table: VideoTable, which: Filter, passes: Callable[[str, VideoInfo], bool]
) -> None:
    assert chosen(table, which) == {video_id for video_id, info in INFOS.items() if passes(video_id, info)}


def test_without_a_filter_of_videos_all_pass(table: VideoTable) -> None:
    assert table.select(Filter(), None) is None
    assert table.select(Filter(language="de", speakers=frozenset({"Ann"})), None) is None


def test_slots_are_a_filter_too(table: VideoTable) -> None:
    slots = frozenset({slot_of("vid_a"), slot_of("vid_d")})
    assert chosen(table, Filter(), slots) == {v for v in INFOS if slot_of(v) in slots}
    assert chosen(table, Filter(tags=frozenset({"red"})), slots) == {
        v for v in ("vid_a", "vid_b") if slot_of(v) in slots
    }
    assert chosen(table, Filter(), frozenset(range(SLOTS))) == set(INFOS)
    assert chosen(table, Filter(), frozenset()) == set()
    assert set(table.in_slots(slots)) == {v for v in INFOS if slot_of(v) in slots}


def test_a_new_description_takes_the_place_of_the_old_in_every_filter(table: VideoTable) -> None:
    version, number = table.version, table.number("vid_a")
    assert table.put("vid_a", VideoInfo("New", "kitchen", ("blue",), 9000.0, 1.0)) == number
    assert table.version > version
    assert chosen(table, Filter(collections=frozenset({"garden"}))) == {"vid_b"}
    assert chosen(table, Filter(collections=frozenset({"kitchen"}))) == {"vid_a", "vid_d"}
    assert chosen(table, Filter(tags=frozenset({"green"}))) == {"vid_d"}
    assert chosen(table, Filter(tags=frozenset({"blue"}))) == {"vid_a"}
    assert chosen(table, Filter(max_duration=2.0)) == {"vid_a"}
    assert table.title(number) == "New"


def test_saying_the_same_again_changes_nothing(table: VideoTable) -> None:
    version = table.version
    table.put("vid_a", INFOS["vid_a"])
    assert table.version == version


def test_a_video_without_chunks_is_forgotten_and_comes_back_under_another_number(table: VideoTable) -> None:
    number = table.number("vid_a")
    table.count(np.array([number], np.int32), -1)
    assert "vid_a" in table
    table.count(np.array([number], np.int32), -1)
    assert "vid_a" not in table
    assert (table.number("vid_a"), table.info("vid_a"), len(table)) == (NOBODY, VideoInfo(), 3)
    assert chosen(table, Filter(frozenset({"vid_a", "vid_b"}))) == {"vid_b"}
    assert chosen(table, Filter(tags=frozenset({"green"}))) == {"vid_d"}
    again = table.put("vid_a", INFOS["vid_a"])
    assert again not in {number, NOBODY}
    assert table.info("vid_a") == INFOS["vid_a"]


def test_put_and_never_counted_is_forgotten_on_request(table: VideoTable) -> None:
    numbers = [table.put("vid_a", INFOS["vid_a"]), table.put("vid_new", VideoInfo("N", tags=("red",)))]
    table.forget_empty(numbers)
    assert "vid_new" not in table
    assert "vid_a" in table
    assert chosen(table, Filter(tags=frozenset({"red"}))) == {"vid_a", "vid_b"}


def test_there_may_be_many(table: VideoTable) -> None:
    """More than the columns begin with: they grow, and what was in them stays."""
    for number in range(500):
        video_id = f"vid_{number:04d}"
        table.count(np.array([table.put(video_id, VideoInfo(uploaded_at=10_000.0 + number))], np.int32), 1)
    assert len(table) == 504
    assert chosen(table, Filter(uploaded_since=10_499.0)) == {"vid_0499"}
    assert chosen(table, Filter(uploaded_before=1500.0)) == {"vid_a"}
    assert sorted(table) == sorted([*INFOS, *(f"vid_{number:04d}" for number in range(500))])
