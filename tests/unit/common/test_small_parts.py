"""Small parts of services.common that need no server."""

import asyncio
import os
import sys
import threading

import pytest

from services.common.errors import InvalidArgument, MediaTooLarge, Overloaded, RemoteError, VideoNotFound
from services.common.executor import BoundedExecutor
from services.common.ids import is_video_id, new_video_id, slot_of
from services.common.transcript import SliceTranscript


def test_video_ids_sort_by_time_and_spread_over_slots() -> None:
    ids = [new_video_id() for _ in range(2000)]
    assert all(is_video_id(video_id) for video_id in ids)
    assert len({slot_of(video_id) for video_id in ids}) > 200
    assert not is_video_id("vid_../../etc/passwd")
    assert not is_video_id("vid_01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_errors_look_right_from_outside() -> None:
    assert (InvalidArgument("x").http_status, VideoNotFound("v").http_status) == (400, 404)
    assert (MediaTooLarge("x").http_status, Overloaded("x").http_status) == (413, 429)
    remote = RemoteError("away", code="UNAVAILABLE", reason="UNAVAILABLE")
    assert (remote.transient, remote.http_status) == (True, 503)


def test_a_transcript_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 99"):
        SliceTranscript.from_bytes(b'{"format_version": 99}')


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
async def test_threads_of_an_executor_stand_back_behind_others() -> None:
    ordinary, patient = BoundedExecutor("a", threads=1, queue=1), BoundedExecutor("b", threads=1, queue=1, niceness=7)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = niceness()
    assert (await ordinary.run(niceness), await patient.run(niceness), niceness()) == (here, max(7, here), here)
    for pool in (ordinary, patient):
        pool.close()


async def test_a_full_executor_refuses_and_counts_work_whose_caller_left() -> None:
    pool = BoundedExecutor("test", threads=1, queue=1)
    release, started = threading.Event(), threading.Event()

    def work() -> str:
        started.set()
        release.wait(10)
        return "done"

    first = asyncio.create_task(pool.run(work))
    second = asyncio.create_task(pool.run(lambda: "second"))
    await asyncio.to_thread(started.wait, 10)
    with pytest.raises(Overloaded):
        await pool.run(work)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pool.pending == 2  # its thread is still taken
    release.set()
    assert await second == "second"
    assert pool.pending == 0
    pool.close()
