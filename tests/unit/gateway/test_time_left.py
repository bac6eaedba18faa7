"""Estimates from measured speed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.common.videos.model import Video
from services.gateway.time_left import TimeLeft, by_itself, by_the_mesh

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def video(name: str, *done_ago: float | None, began: float | None = 100.0, each: float = 100.0, **more: Any) -> Video:
    """A video of slices done so many seconds ago, or not yet."""
    slices = [
        {"slice_id": f"{n:05d}", "start_time": n * each, "end_time": (n + 1) * each, "attempts": 0,
         "state": "cut" if at is None else "indexed", "done_at": None if at is None else ago(at)}
        for n, at in enumerate(done_ago)
    ]  # fmt: skip
    doc = {
        "_id": name, "title": name, "status": "processing", "slices": slices, "slicing_done": True, "revision": 1,
        "metadata": {"uploaded_at": NOW}, "began_at": None if began is None else ago(began),
    }  # fmt: skip
    return Video.from_document(doc | more)


def test_a_video_goes_on_as_fast_as_it_went() -> None:
    # 100 s of media in 20 s, five times so, and five to go.
    shown = video("a", 80, 60, 40, 20, 0, None, None, None, None, None)
    assert by_itself(shown, NOW) == pytest.approx(100)
    assert by_itself(shown, NOW + dt.timedelta(seconds=10)) == pytest.approx(90)


def test_one_that_got_slower_takes_longer_and_one_that_stands_still_longer_and_longer() -> None:
    steady = video("a", 80, 60, 40, 20, 0, None)
    slower = video("a", 90, 80, 70, 60, 0, None)
    first, second = by_itself(steady, NOW), by_itself(slower, NOW)
    assert first is not None
    assert second is not None
    assert second > first
    waits = [by_itself(steady, NOW + dt.timedelta(seconds=s)) for s in (60, 600, 6000)]
    assert [wait is not None and wait >= 1 for wait in waits] == [True] * 3
    assert waits == sorted(waits, key=lambda wait: wait or 0)


def test_what_was_done_before_an_edit_says_nothing_of_it() -> None:
    assert by_itself(video("a", 5000, 4000, 3000, None, began=10), NOW) is None


def test_before_its_own_slices_the_mesh_tells_with_the_share_of_the_others() -> None:
    # The mesh did 400 s of media in the 100 s it was busy.
    before = video("b", 300, 275, 250, 225, began=325, status="ready")
    fresh = video("a", None, None, began=1)
    assert by_the_mesh(fresh, [before], NOW) == pytest.approx(50)
    short = video("c", None, began=1)
    long = video("d", *[None] * 50, began=1)
    assert by_the_mesh(fresh, [before, short], NOW) == pytest.approx(75)
    assert by_the_mesh(fresh, [before, long], NOW) == pytest.approx(100)  # turn by turn: half of the mesh each


def test_time_in_which_nothing_was_to_do_does_not_count() -> None:
    first = video("b", 600, began=625, status="ready")
    second = video("c", 100, began=125, status="ready")
    overlapping = video("d", 100, began=125, status="ready")
    assert by_the_mesh(video("a", None, began=1), [first, second], NOW) == pytest.approx(25)
    assert by_the_mesh(video("a", None, began=1), [second, overlapping], NOW) == pytest.approx(12.5)


def test_nothing_is_made_up() -> None:
    fresh = video("a", None, began=1)
    assert by_the_mesh(fresh, [], NOW) is None
    assert by_the_mesh(fresh, [video("b", 5000, began=6000, status="ready")], NOW) is None  # too long ago
    imported = video("c", 5, 4, began=6, status="ready", metadata={"uploaded_at": NOW, "asr_model": "imported"})
    assert by_the_mesh(fresh, [imported], NOW) is None  # what was only embedded says nothing of what is to be heard


async def test_what_should_long_be_embedded_has_no_estimate_rather_than_none_left() -> None:
    class Videos:
        async def recent(self, since: dt.datetime) -> list[Video]:
            return [video("b", 5, 4, began=6, each=3000.0, status="ready", metadata=given)]

    def waiting(began: float, state: str = "transcribed", **more: Any) -> Video:
        part = {"slice_id": "00000", "start_time": 0.0, "end_time": 5.0, "attempts": 0, "state": state}
        return video("a", began=began, **{"slices": [part], "metadata": given} | more)

    given = {"uploaded_at": NOW, "asr_model": "imported"}
    time_left = TimeLeft(videos=Videos(), now=lambda: NOW)
    assert await time_left.of(waiting(1)) == 0.0
    assert await time_left.of(waiting(30)) is None
    assert await time_left.of(waiting(30, "embedded")) is None


async def test_only_what_is_on_its_way_and_all_cut_has_an_estimate() -> None:
    class Videos:
        asked = 0

        async def recent(self, since: dt.datetime) -> list[Video]:
            assert since == NOW - dt.timedelta(minutes=15)
            self.asked += 1
            return [video("b", 300, began=325, status="ready")]

    videos = Videos()
    time_left = TimeLeft(videos=videos, now=lambda: NOW)
    assert await time_left.of(video("a", None, began=1)) == 25.0
    assert await time_left.of(video("c", None, None, began=1)) == 50.0
    assert videos.asked == 1
    assert await time_left.of(video("a", None, slicing_done=False)) is None
    assert await time_left.of(video("a", 3, status="ready")) is None
    assert await time_left.of(video("a", None, status="failed")) is None
