"""Uploads that stream through."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.common.errors import (
    ChecksumMismatch,
    DeadlineExceeded,
    InvalidArgument,
    MediaTooLarge,
    Overloaded,
    Unavailable,
    VideoNotFound,
)
from services.common.speech import SpeechOptions
from services.common.videos.model import Metadata, Source, Video, VideoStatus
from services.gateway.attributes import title_from
from services.gateway.streams import BLOCK_BYTES
from services.gateway.uploads import Details, Leftovers, Uploads, clean_content_type, clean_filename
from tests.support.waiting import eventually

LIMIT = 4 * BLOCK_BYTES


class Media:
    """An object store in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.largest = 0

    async def put(self, key: str, data: AsyncIterable[bytes]) -> int:
        blocks: list[bytes] = []
        async for block in data:
            self.largest = max(self.largest, len(block))
            blocks.append(block)
        self.objects[key] = b"".join(blocks)
        return len(self.objects[key])

    async def delete_prefix(self, prefix: str) -> int:
        gone = [key for key in self.objects if key.startswith(prefix)]
        for key in gone:
            del self.objects[key]
        return len(gone)


class Videos:
    """Video documents in memory."""

    def __init__(self, error: Exception | None = None) -> None:
        self.created: list[Video] = []
        self.error = error

    async def get(self, video_id: str) -> Video:
        found = next((video for video in self.created if video.video_id == video_id), None)
        if found is None:
            raise VideoNotFound(video_id)
        return found

    async def create_unless_there(self, video_id: str, *, source: Source, **told: Any) -> Video:
        same = (video for video in self.created if video.source and video.source.sha256 == source.sha256)
        return next(same, None) or await self.create(video_id, source=source, **told)

    async def create(
        self,
        video_id: str,
        *,
        title: str,
        url: str | None = None,
        source: Source | None = None,
        collection: str = "",
        tags: Sequence[str] = (),
        speech: SpeechOptions | None = None,
    ) -> Video:
        if self.error is not None:
            raise self.error
        meta = Metadata(dt.datetime.now(dt.UTC), None, None, None, None, None)
        video = Video(video_id, title, url, VideoStatus.UPLOADED, None, source, [], False, meta, None, [], 1)
        video = replace(video, collection=collection, tags=tuple(tags))
        self.created.append(video)
        return video


async def accept(url: str) -> str:
    return url.strip()


def uploads(
    media: Media, videos: Videos, *, concurrency: int = 2, idle_seconds: float = 5, leftovers: Leftovers | None = None
) -> Uploads:
    return Uploads(
        media=media,
        videos=videos,
        check_url=accept,
        max_bytes=LIMIT,
        concurrency=concurrency,
        idle_seconds=idle_seconds,
        leftovers=leftovers,
    )


async def blocks(*data: bytes) -> AsyncIterator[bytes]:
    for block in data:
        yield block


def details(title: str = "", filename: str = "talk.mp4", content_type: str = "video/mp4") -> Details:
    return Details(title, filename, content_type)


@pytest.mark.parametrize("size", [1, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, LIMIT])
async def test_bytes_arrive_whole_with_their_hash(size: int) -> None:
    media, videos = Media(), Videos()
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    given = blocks(*(data[at : at + 65_536] for at in range(0, size, 65_536)))
    video = (await uploads(media, videos).from_stream(given, details)).video
    assert video.source == Source("talk.mp4", "video/mp4", size, hashlib.sha256(data).hexdigest())
    assert media.objects == {f"videos/{video.video_id}/media": data}
    assert media.largest <= BLOCK_BYTES + 65_536


async def test_a_title_known_only_at_the_end_is_taken() -> None:
    given = details()

    async def late() -> AsyncIterator[bytes]:
        yield b"data"
        given.title = "Said at last"

    video = (await uploads(Media(), Videos()).from_stream(late(), lambda: given)).video
    assert video.title == "Said at last"


@pytest.mark.parametrize(
    ("given", "title"),
    [(details(), "talk"), (details(filename=""), "vid_"), (details(filename="../../etc/a.b.mp3"), "a.b")],
)
async def test_a_title_is_found_when_none_is_given(given: Details, title: str) -> None:
    video = (await uploads(Media(), Videos()).from_stream(blocks(b"x"), lambda: given)).video
    assert video.title.startswith(title)


async def broken() -> AsyncIterator[bytes]:
    yield b"x" * (2 * BLOCK_BYTES)
    raise ConnectionResetError("gone")


async def silent() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (blocks(), InvalidArgument),
        (blocks(b"", b""), InvalidArgument),
        (blocks(b"x" * LIMIT, b"x"), MediaTooLarge),
        (broken(), ConnectionResetError),
        (silent(), DeadlineExceeded),
    ],
)
async def test_what_fails_leaves_nothing_behind(source: AsyncIterator[bytes], error: type[Exception]) -> None:
    media, videos = Media(), Videos()
    with pytest.raises(error):
        await uploads(media, videos, idle_seconds=0.2).from_stream(source, details)
    assert (media.objects, videos.created) == ({}, [])


async def test_media_without_a_document_is_removed() -> None:
    media = Media()
    with pytest.raises(Unavailable):
        await uploads(media, Videos(Unavailable("database away"))).from_stream(blocks(b"data"), details)
    assert media.objects == {}


async def test_a_caller_that_goes_away_leaves_nothing_behind() -> None:
    media, videos = Media(), Videos()
    work = uploads(media, videos, idle_seconds=60)
    task = asyncio.create_task(work.from_stream(silent(), details))
    await eventually(lambda: work._running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (media.objects, videos.created, work._running) == ({}, [], 0)


async def test_too_many_uploads_are_refused_at_once() -> None:
    work = uploads(Media(), Videos(), concurrency=1, idle_seconds=60)
    task = asyncio.create_task(work.from_stream(silent(), details))
    await eventually(lambda: work._running == 1)
    with pytest.raises(Overloaded):
        await work.from_stream(blocks(b"x"), details)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_announced_size_over_the_limit_is_refused_unread() -> None:
    work = uploads(Media(), Videos())
    work.check_size(LIMIT)
    with pytest.raises(MediaTooLarge):
        work.check_size(LIMIT + 1)


@pytest.mark.parametrize(
    ("url", "title", "expected"),
    [
        (" https://example.org/a/My%20talk.mp4?x=1 ", "", "My talk"),
        ("https://example.org/", "", "example.org"),
        ("https://example.org/talk.mp4", " Given\n ", "Given"),
    ],
)
async def test_a_url_becomes_a_video(url: str, title: str, expected: str) -> None:
    video = (await uploads(Media(), Videos()).from_url(url, title=title)).video
    assert (video.url, video.title, video.source) == (url.strip(), expected, None)


async def test_the_same_bytes_become_one_video_unless_told_otherwise() -> None:
    media, videos = Media(), Videos()
    work = uploads(media, videos)
    first = await work.from_stream(blocks(b"data"), details)
    second = await work.from_stream(blocks(b"da", b"ta"), details)
    assert (first.existing, second.existing, second.video) == (False, True, first.video)
    assert list(media.objects) == [f"videos/{first.video.video_id}/media"]
    third = await work.from_stream(blocks(b"data"), lambda: replace(details(), duplicate=True))
    assert not third.existing
    assert len(media.objects) == len(videos.created) == 2


async def test_other_bytes_than_were_sent_leave_nothing_behind() -> None:
    media, videos = Media(), Videos()
    digest = hashlib.sha256(b"data").hexdigest()
    taken = await uploads(media, videos).from_stream(blocks(b"data"), lambda: replace(details(), sha256=digest))
    assert taken.video.source is not None
    with pytest.raises(ChecksumMismatch) as refused:
        await uploads(media, videos).from_stream(blocks(b"dat"), lambda: replace(details(), sha256=digest))
    assert refused.value.http_status == 422
    assert len(media.objects) == len(videos.created) == 1


async def test_what_may_have_been_created_is_left_to_the_sweeper() -> None:
    class Told:
        names: list[str]

        def __init__(self) -> None:
            self.names = []

        async def begin(self, video_id: str) -> None:
            self.names.append(video_id)

        async def done(self, video_id: str) -> None:
            self.names.remove(video_id)

    for error, left in ((TimeoutError("no answer"), 1), (Unavailable("refused"), 0), (None, 0)):
        media, told = Media(), Told()
        work = uploads(media, Videos(error), leftovers=told)
        with contextlib.suppress(Exception):
            await work.from_stream(blocks(b"data"), details)
        assert len(told.names) == left
        assert len(media.objects) == (1 if error is None else left)


def test_names_are_made_harmless() -> None:
    assert clean_filename("C:\\Users\\me\\talk.mp4") == "talk.mp4"
    assert clean_filename("..") == ""
    assert clean_filename("a\x00b\r\nc.mp4") == "abc.mp4"
    assert clean_filename("x" * 400 + ".mp4").endswith("x.mp4")
    assert len(clean_filename("x" * 400 + ".mp4")) == 255
    assert title_from(" a\tb\u2028c ") == "a b c"
    assert len(title_from("word " * 500)) <= 300


async def test_collection_and_tags_are_kept_clean() -> None:
    media, videos = Media(), Videos()
    given = Details("A talk", "a.mp4", collection=" talks-2026 ", tags=[" bread ", "", "bread", "Brot"])
    video = (await uploads(media, videos).from_stream(blocks(b"data"), lambda: given)).video
    assert (video.collection, video.tags) == ("talks-2026", ("bread", "Brot"))
    video = (await uploads(media, videos).from_url("https://x/a.mp4", collection="talks", tags=["bread"])).video
    assert (video.collection, video.tags) == ("talks", ("bread",))


@pytest.mark.parametrize(
    "given", [Details("x" * 301), Details(collection="my talks"), Details(tags=[str(n) for n in range(33)])]
)
async def test_what_is_wrong_with_a_video_leaves_nothing_behind(given: Details) -> None:
    media, videos = Media(), Videos()
    with pytest.raises(InvalidArgument):
        given.check()
    with pytest.raises(InvalidArgument):
        await uploads(media, videos).from_stream(blocks(b"data"), lambda: given)
    assert (media.objects, videos.created) == ({}, [])
    with pytest.raises(InvalidArgument):
        await uploads(media, videos).from_url(
            "https://x/a.mp4", title=given.title, collection=given.collection, tags=given.tags
        )


@pytest.mark.parametrize(
    ("given", "filename", "expected"),
    [
        ("video/mp4; codecs=x", "a", "video/mp4"),
        ("", "a.webm", "video/webm"),
        ("application/octet-stream", "a.mp3", "audio/mpeg"),
        ("nonsense", "a", "application/octet-stream"),
        ("text/html\r\nX-Evil: 1", "a.mp4", "video/mp4"),
    ],
)
def test_content_types_are_made_harmless(given: str, filename: str, expected: str) -> None:
    assert clean_content_type(given, filename) == expected
