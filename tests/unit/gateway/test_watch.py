"""Following a video."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from services.common.errors import Overloaded, VideoNotFound
from services.common.videos.model import Metadata, Video, VideoStatus
from services.gateway.watch import Watcher
from tests.support.waiting import eventually

ID = f"vid_{'a' * 26}"
META = Metadata(dt.datetime.now(dt.UTC), None, None, None, None, None)


class Documents:
    """One video, and the feed that says when it changes."""

    def __init__(self) -> None:
        self.video: Video | None = Video(
            ID, "t", None, VideoStatus.UPLOADED, None, None, [], False, META, None, [], revision=1
        )
        self.reads = 0
        self.watchers: set[asyncio.Event] = set()

    async def get(self, video_id: str) -> Video:
        self.reads += 1
        if self.video is None or video_id != ID:
            raise VideoNotFound(video_id)
        return self.video

    @asynccontextmanager
    async def changes(self, video_id: str) -> AsyncIterator[asyncio.Event]:
        changed = asyncio.Event()
        self.watchers.add(changed)
        try:
            yield changed
        finally:
            self.watchers.discard(changed)

    def change(self, status: VideoStatus = VideoStatus.PROCESSING, *, told: bool = True) -> None:
        assert self.video is not None
        self.video = dataclasses.replace(self.video, status=status, revision=self.video.revision + 1)
        for watcher in self.watchers if told else ():
            watcher.set()


class Flag:
    up = False

    def __call__(self) -> bool:
        return self.up


def watcher(
    documents: Documents,
    *,
    poll: float = 30,
    stopping: Flag | None = None,
    concurrency: int = 2,
    heartbeat: float = 15,
) -> Watcher:
    return Watcher(
        videos=documents,
        feed=documents,
        poll_seconds=poll,
        concurrency=concurrency,
        stopping=stopping or Flag(),
        heartbeat_seconds=heartbeat,
    )


async def statuses(watching: Watcher, into: list[VideoStatus | None]) -> None:
    async with aclosing(watching.watch(ID)) as updates:
        async for video in updates:
            into.append(video.status if video else None)  # noqa: PERF401  (seen while it goes on)


@pytest.mark.parametrize("last", [VideoStatus.READY, VideoStatus.FAILED, VideoStatus.DELETING])
async def test_it_tells_every_state_up_to_the_last(last: VideoStatus) -> None:
    documents, seen = Documents(), list[VideoStatus | None]()
    task = asyncio.create_task(statuses(watcher(documents), seen))
    await eventually(lambda: len(seen) == 1)
    documents.change()
    await eventually(lambda: len(seen) == 2)
    documents.change(last)
    await asyncio.wait_for(task, 5)
    assert seen == [VideoStatus.UPLOADED, VideoStatus.PROCESSING, last]
    assert documents.watchers == set()


async def test_a_change_without_an_event_is_found_by_looking() -> None:
    documents, seen = Documents(), list[VideoStatus | None]()
    task = asyncio.create_task(statuses(watcher(documents, poll=0.05), seen))
    await eventually(lambda: len(seen) == 1)
    documents.change(VideoStatus.READY, told=False)
    await asyncio.wait_for(task, 5)
    assert seen[-1] is VideoStatus.READY


async def test_changes_in_a_burst_come_as_one() -> None:
    documents, seen = Documents(), list[VideoStatus | None]()
    task = asyncio.create_task(statuses(watcher(documents), seen))
    await eventually(lambda: len(seen) == 1)
    reads = documents.reads
    for _ in range(50):
        documents.change()
        await asyncio.sleep(0)
    documents.change(VideoStatus.READY)
    await asyncio.wait_for(task, 5)
    assert documents.reads - reads <= 2
    assert len(seen) <= 3


async def test_it_ends_when_the_video_is_gone() -> None:
    documents, seen = Documents(), list[VideoStatus | None]()
    task = asyncio.create_task(statuses(watcher(documents, poll=0.05), seen))
    await eventually(lambda: len(seen) == 1)
    documents.video = None
    await asyncio.wait_for(task, 5)
    assert seen == [VideoStatus.UPLOADED]


async def test_it_ends_when_the_gateway_stops() -> None:
    documents, flag, seen = Documents(), Flag(), list[VideoStatus | None]()
    watching = watcher(documents, poll=0.05, stopping=flag)
    task = asyncio.create_task(statuses(watching, seen))
    await eventually(lambda: len(seen) == 1)
    flag.up = True
    await asyncio.wait_for(task, 5)
    assert watching.stopped


async def test_silence_is_broken_by_a_sign_of_life() -> None:
    documents = Documents()
    async with aclosing(watcher(documents, poll=0.02, heartbeat=0.01).watch(ID)) as updates:
        first = await anext(updates)
        assert first is not None
        assert await anext(updates) is None


async def test_unknown_and_impossible_videos_are_refused_at_once() -> None:
    documents = Documents()
    for video_id in (f"vid_{'b' * 26}", ">", "*"):
        with pytest.raises(VideoNotFound):
            await anext(watcher(documents).watch(video_id))
    assert documents.watchers == set()


async def test_too_many_watches_are_refused_and_places_are_given_back() -> None:
    documents = Documents()
    watching = watcher(documents, concurrency=1)
    async with aclosing(watching.watch(ID)) as updates:
        await anext(updates)
        with pytest.raises(Overloaded):
            await anext(watching.watch(ID))
    async with aclosing(watching.watch(ID)) as updates:
        assert await anext(updates) is not None
