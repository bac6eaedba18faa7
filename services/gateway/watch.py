"""Follows a video's state: woken by events, and by looking now and then in case one was missed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.common.errors import Overloaded, VideoNotFound
from services.common.ids import is_video_id
from services.common.videos.model import Video, VideoStatus

COALESCE_SECONDS = 0.15
HEARTBEAT_SECONDS = 15.0
_LAST = {VideoStatus.READY, VideoStatus.FAILED, VideoStatus.DELETING}


class VideoReader(Protocol):
    """Where videos are read."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...


class ChangeFeed(Protocol):
    """Says that something happened to a video."""

    def changes(self, video_id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Gives an event that is set whenever something happens; it may miss something."""
        ...


class Watcher:
    """Lets any number of callers follow videos.

    Args:
        videos: Where videos are read.
        feed: Wakes watchers up.
        poll_seconds: Time after which a video is looked at although nothing woke the watcher up; not every
            change of a document has an event.
        concurrency: Watches under way at once; one more is refused.
    """

    def __init__(self, *, videos: VideoReader, feed: ChangeFeed, poll_seconds: float, concurrency: int) -> None:
        self._videos = videos
        self._feed = feed
        self._poll_seconds = poll_seconds
        self._concurrency = concurrency
        self._running = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all watches, so that those who watch can go to another gateway."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether all watches were told to end."""
        return self._stopping.is_set()

    async def watch(self, video_id: str) -> AsyncIterator[Video | None]:
        """Gives the video now and after every change, until it is ready, failed, being deleted or gone.

        Changes that follow each other at once come as one. None means that nothing has changed for a while.

        Raises:
            VideoNotFound: There is no such video.
            Overloaded: Too many watches are under way.
        """
        if not is_video_id(video_id):  # it becomes part of a subject, where a wildcard would match other videos
            raise VideoNotFound(video_id)
        if self._running >= self._concurrency:
            raise Overloaded(
                f"{self._running} watches are under way; ask for the status instead", retry_after_seconds=5
            )
        self._running += 1
        try:
            async with self._feed.changes(video_id) as changed:
                video = await self._videos.get(video_id)
                yield video
                told = time.monotonic()
                while video.status not in _LAST:
                    await self._wait(changed)
                    if self._stopping.is_set():
                        return
                    changed.clear()
                    try:
                        latest = await self._videos.get(video_id)
                    except VideoNotFound:
                        return
                    if latest.revision != video.revision:
                        video = latest
                        yield video
                        told = time.monotonic()
                    elif time.monotonic() - told >= HEARTBEAT_SECONDS:
                        yield None
                        told = time.monotonic()
        finally:
            self._running -= 1

    async def _wait(self, changed: asyncio.Event) -> None:
        """Waits for a change, at most until the next look, and a moment longer for the changes that follow it."""
        woken = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._stopping.wait())}
        try:
            await asyncio.wait(woken, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in woken:
                waiter.cancel()
        if not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), COALESCE_SECONDS)
