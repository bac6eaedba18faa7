"""How long a video still takes, from measured speed alone; nothing where nothing was measured.

Speed is media seconds made searchable in a second. Once two slices of a video are done, its own speed tells, which has
in it whatever it shares the mesh with. Before that the mesh's of the last minutes does: of the videos on their way
each is worked on by turns, so that this one is done when of every other as much is done as there is of it, or all.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from services.common.videos.model import Slice, SliceState, Video, VideoStatus
from services.gateway import faults

log = structlog.get_logger()

GIVEN = "imported"
WINDOW = dt.timedelta(minutes=15)
"""What was done longer ago says nothing of the mesh as it is."""
A_MOMENT = 5.0
"""Seconds by which what waits for no recognizer may be late before its estimate is taken back."""
KEPT_SECONDS = 3.0
"""For so long the mesh is not asked again."""
_OWN_SLICES = 2
_OVER = {SliceState.INDEXED, SliceState.FAILED}


class Videos(Protocol):
    """The documents."""

    async def recent(self, since: dt.datetime) -> list[Video]:
        """Gives videos something happened to since then."""
        ...


class TimeLeft:
    """Estimates.

    Args:
        videos: The documents.
        now: Says what time it is.
    """

    def __init__(self, *, videos: Videos, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._videos = videos
        self._now = now
        self._recent: Sequence[Video] = ()
        self._asked = float("-inf")

    async def of(self, video: Video) -> float | None:
        """Gives seconds until all of a video is searchable; None where that cannot be known, or nothing is done."""
        if video.status is not VideoStatus.PROCESSING or not video.slicing_done:
            return None
        if (own := by_itself(video, self._now())) is not None:
            return round(own, 1)
        try:
            if time.monotonic() - self._asked >= KEPT_SECONDS:
                self._asked = time.monotonic()
                self._recent = await self._videos.recent(self._now() - WINDOW)
        except Exception as error:
            if faults.known(error) is None:
                raise
            # An estimate is no reason to fail.
            log.warning("time_left_unknown", error=repr(error))
            return None
        left = by_the_mesh(video, self._recent, self._now())
        return None if left is None or _late(video, left, self._now()) else round(left, 1)


def by_itself(video: Video, now: dt.datetime) -> float | None:
    """Gives what a video still takes by its own speed; None while less than two of its slices are done."""
    began = video.began_at
    left = _left(video.slices)
    done = sorted((part.done_at, _seconds(part)) for part in video.slices if part.done_at and _since(part, began))
    if began is None or len(done) < _OWN_SLICES:
        return None
    last = done[-1][0]
    whole = (last - began).total_seconds()
    if whole <= 0:
        return None
    speed = sum(seconds for _, seconds in done) / whole
    # The later half counts once more: others may have come or gone.
    later = done[len(done) // 2 :]
    took = (last - done[len(done) // 2 - 1][0]).total_seconds()
    if took > 0:
        speed = (speed + sum(seconds for _, seconds in later) / took) / 2
    quiet = max((now - last).total_seconds(), 0.0)
    # Between two slices it comes nearer second by second; when the next is overdue it is slower than it was.
    due = 2 * max(whole / len(done), max((_seconds(part) for part in video.slices), default=0.0) / speed)
    if quiet > due:
        speed *= whole / (whole + quiet - due)
        quiet = due
    return max(left / speed - quiet, min(left / speed, 1.0))


def by_the_mesh(video: Video, recent: Iterable[Video], now: dt.datetime) -> float | None:
    """Gives what a video still takes by the mesh's recent speed; None where nothing like it was done."""
    others = [other for other in recent if other.video_id != video.video_id]
    left, heard = _left(video.slices), _to_be_heard(video)
    done = 0.0
    busy: list[tuple[dt.datetime, dt.datetime]] = []
    for other in [*others, video]:
        ends = [
            (part.done_at, _seconds(part))
            for part in other.slices
            if part.done_at and _since(part, other.began_at) and part.done_at > now - WINDOW
            and _was_heard(other, part) == heard
        ]  # fmt: skip
        done += sum(seconds for _, seconds in ends)
        if other.began_at is not None and ends:
            on_its_way = other.status is VideoStatus.PROCESSING and _left(other.slices) > 0
            busy.append((max(other.began_at, now - WINDOW), now if on_its_way else max(end for end, _ in ends)))
    seconds = _covered(busy)
    if done <= 0 or seconds <= 0:
        return None
    waiting = [
        min(_left(other.slices), left)
        for other in others
        if other.status is VideoStatus.PROCESSING and _to_be_heard(other) == heard
    ]
    return (left + sum(waiting)) * seconds / done


def _seconds(part: Slice) -> float:
    return part.end_time - part.start_time


def _left(slices: Iterable[Slice]) -> float:
    return sum(_seconds(part) for part in slices if part.state not in _OVER)


def _since(part: Slice, began: dt.datetime | None) -> bool:
    return part.state is SliceState.INDEXED and part.done_at is not None and began is not None and part.done_at > began


def _was_heard(video: Video, part: Slice) -> bool:
    """Whether a slice needs a recognizer, which takes a hundred times as long as what comes behind it."""
    return not part.edit and video.metadata.asr_model != GIVEN


def _late(video: Video, left: float, now: dt.datetime) -> bool:
    """Whether an estimate is disproved: nothing is to be heard any more, and what is left should long be done.

    The mesh's speed says nothing of what waits behind another's slices.
    """
    heard = all(part.state is not SliceState.CUT for part in video.slices)
    return heard and video.began_at is not None and (now - video.began_at).total_seconds() > left + A_MOMENT


def _to_be_heard(video: Video) -> bool:
    return any(_was_heard(video, part) for part in video.slices if part.state not in _OVER)


def _covered(spans: Sequence[tuple[dt.datetime, dt.datetime]]) -> float:
    """Gives how many seconds are in at least one of the spans."""
    total = 0.0
    end: dt.datetime | None = None
    for start, stop in sorted(spans):
        begin = start if end is None else max(start, end)
        total += max((stop - begin).total_seconds(), 0.0)
        end = stop if end is None else max(end, stop)
    return total
