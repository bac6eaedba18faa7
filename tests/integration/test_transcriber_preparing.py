"""Pictures and renditions on real NATS, MongoDB and object store, made by real child processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from services.common.errors import FailedPrecondition
from services.common.events import topology
from services.common.events.consumer import Consumer
from services.common.ids import new_video_id
from services.common.objects import media_key, pictures_prefix, rendition_key, rendition_prefix, video_prefix
from services.common.videos.model import Playable, Source, Video, VideoStatus
from services.gateway.consumer import Cleaner
from services.transcriber.child_process import sweep_folders
from services.transcriber.preparer import Illustrator, PreparingLimits, Renderer
from services.transcriber.turns import Turns
from tests.support import eventually
from tests.support.media import MediaMaker, Tone
from tests.support.mesh import Backbone
from tests.support.pictures import video

SOURCE = Source(filename="talk.mp4", content_type="video/mp4", bytes=5, sha256="0" * 64)
LIMITS = PreparingLimits(memory_bytes=2**31, step_cpu_seconds=0.2)


@pytest.fixture(scope="module")
def long_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Media whose rendition takes long enough to be disturbed."""
    return video(tmp_path_factory.mktemp("long") / "a.avi", seconds=40, video_codec="mpeg4", size=(640, 360))


@asynccontextmanager
async def preparing(backbone: Backbone, limits: PreparingLimits = LIMITS) -> AsyncIterator[None]:
    """Both kinds of work, running in this process."""
    parts: dict[str, Any] = {"videos": backbone.videos, "objects": backbone.objects, "limits": limits}
    consumers = [
        Consumer(backbone.bus, "illustrator", Illustrator(**parts).handle),
        Consumer(backbone.bus, "renderer", Renderer(**parts, turns=Turns(1)).handle, concurrency=2),
    ]
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        await asyncio.gather(*(consumer.stop(grace_seconds=0) for consumer in consumers))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gone(backbone: Backbone, video_id: str) -> bool:
    return await backbone.objects.list(video_prefix(video_id)) == []


async def upload(backbone: Backbone, media: Path | bytes) -> str:
    video_id = new_video_id()
    data = media if isinstance(media, bytes) else media.read_bytes()
    await backbone.objects.put(media_key(video_id), data)
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    return video_id


async def until(backbone: Backbone, video_id: str, holds: Callable[[Video], bool]) -> Video:
    async def get() -> Video | None:
        found = await backbone.videos.get(video_id)
        return found if holds(found) else None

    found = await eventually(get, timeout=60)
    assert found is not None
    return found


def looked_at(video: Video) -> bool:
    return video.pictures is not None and video.playback is not None


def settled(video: Video) -> bool:
    return looked_at(video) and video.playback is not None and video.playback.state is not Playable.PREPARING


async def test_pictures_are_made_and_what_plays_is_left_alone(backbone: Backbone, tmp_path: Path) -> None:
    media = video(tmp_path / "a.mp4", seconds=6, video_codec="libx264", audio_codec="aac")
    async with preparing(backbone):
        found = await until(backbone, await upload(backbone, media), settled)
    assert found.playback is not None
    assert found.pictures is not None
    assert found.playback.state is Playable.ORIGINAL
    prefix = pictures_prefix(found.video_id, found.pictures.name)
    index = json.loads(await backbone.objects.get(f"{prefix}index.json"))
    assert (len(index["times"]), found.pictures.count) == (3, 3)
    keys = await backbone.objects.list(video_prefix(found.video_id))
    assert {key.removeprefix(prefix) for key in keys if "/pictures/" in key} == {
        "index.json",
        "240.jpgs",
        "480.jpgs",
        "sheet-0.jpg",
    }


async def test_a_rendition_is_made_of_what_does_not_play(backbone: Backbone, tmp_path: Path) -> None:
    media = video(tmp_path / "a.avi", seconds=6, video_codec="mpeg4", audio_codec="libmp3lame", size=(640, 360))
    async with preparing(backbone):
        found = await until(backbone, await upload(backbone, media), settled)
    assert found.playback is not None
    assert found.playback.rendition is not None
    made = found.playback.rendition
    assert (found.playback.state, made.content_type) == (Playable.RENDITION, "video/mp4")
    data = await backbone.objects.get(rendition_key(found.video_id, made.name))
    assert len(data) == made.bytes
    (tmp_path / "made.mp4").write_bytes(data)
    assert data.index(b"moov") < data.index(b"mdat"), "a player need not read to its end first"
    with av.open(str(tmp_path / "made.mp4")) as container:
        assert [stream.codec_context.codec.canonical_name for stream in container.streams] == ["h264", "mp3"]
    assert found.status is VideoStatus.UPLOADED, "what is prepared beside does not move a video on"


@pytest.mark.parametrize(
    "media", [b"not media at all" * 100, b"", b"\x00\x00\x00\x18ftypisom" + bytes(500)], ids=["noise", "empty", "cut"]
)
async def test_what_cannot_be_opened_fails_no_video(backbone: Backbone, media: bytes) -> None:
    async with preparing(backbone):
        found = await until(backbone, await upload(backbone, media), settled)
    assert found.playback is not None
    assert found.pictures is not None
    assert (found.playback.state, found.pictures.name) == (Playable.FAILED, "")
    assert found.playback.message
    assert found.status is VideoStatus.UPLOADED
    assert (await backbone.bus.js.stream_info(topology.DEAD)).state.messages == 0


async def test_sound_alone_has_no_pictures_and_plays(backbone: Backbone, media: MediaMaker) -> None:
    async with preparing(backbone):
        found = await until(backbone, await upload(backbone, media.wav([Tone(2.0)])), settled)
    assert found.pictures is not None
    assert found.playback is not None
    assert (found.pictures.reason, found.playback.state) == ("NO_PICTURE", Playable.ORIGINAL)


@pytest.mark.slow
async def test_a_picture_too_large_for_the_memory_allowed_is_left_out(backbone: Backbone, tmp_path: Path) -> None:
    media = video(tmp_path / "a.mp4", seconds=1, video_codec="mpeg4", size=(4000, 4000))
    async with preparing(backbone, replace(LIMITS, memory_bytes=2**28)):
        found = await until(backbone, await upload(backbone, media), settled)
    assert found.pictures is not None
    assert found.pictures.name == ""


def children(module: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if module.encode() in words and parent == os.getpid():
            found.append(int(folder.name))
    return found


async def test_a_rendition_whose_process_is_killed_is_made_again(backbone: Backbone, long_media: Path) -> None:
    async with preparing(backbone):
        video_id = await upload(backbone, long_media)
        (child, *_) = await eventually(lambda: children("services.transcriber.renderer"), timeout=60)
        os.kill(child, signal.SIGKILL)
        found = await until(backbone, video_id, settled)
    assert found.playback is not None
    assert found.playback.state is Playable.RENDITION
    assert len(await backbone.objects.list(rendition_prefix(video_id))) == 1


@pytest.mark.slow
async def test_work_that_is_broken_off_is_taken_up_by_another_process(backbone: Backbone, long_media: Path) -> None:
    async with preparing(backbone):
        video_id = await upload(backbone, long_media)
        await eventually(lambda: children("services.transcriber.renderer"), timeout=60)
    assert children("services.transcriber.renderer") == []
    found = await backbone.videos.get(video_id)
    assert found.playback is not None
    assert found.playback.state is Playable.PREPARING
    async with preparing(backbone):
        found = await until(backbone, video_id, settled)
    assert found.playback is not None
    assert found.playback.state is Playable.RENDITION


@pytest.mark.slow
async def test_what_works_too_long_is_given_up_and_says_why(backbone: Backbone, tmp_path: Path) -> None:
    media = video(tmp_path / "a.avi", seconds=30, video_codec="mpeg4", size=(1280, 720))
    async with preparing(backbone, replace(LIMITS, rendition_cpu_seconds=1)):
        found = await until(backbone, await upload(backbone, media), settled)
    assert found.playback is not None
    assert (found.playback.state, found.playback.reason) == (Playable.FAILED, "DECODING_TOO_COSTLY")
    # With more allowed it can be tried again.
    assert (await backbone.videos.retry(found.video_id)).playback is None
    async with preparing(backbone):
        found = await until(backbone, found.video_id, settled)
    assert found.playback is not None
    assert found.playback.state is Playable.RENDITION
    with pytest.raises(FailedPrecondition):
        await backbone.videos.retry(found.video_id)


@pytest.mark.slow
async def test_two_renditions_take_turns(backbone: Backbone, tmp_path: Path) -> None:
    long = video(tmp_path / "long.avi", seconds=60, video_codec="mpeg4", size=(640, 360))
    short = video(tmp_path / "short.avi", seconds=2, video_codec="mpeg4")
    async with preparing(backbone):
        first = await upload(backbone, long)
        await eventually(lambda: children("services.transcriber.renderer"), timeout=60)
        second = await upload(backbone, short)
        renditions = [(await until(backbone, video_id, settled)).playback for video_id in (first, second)]
    made = [playback.rendition.name for playback in renditions if playback and playback.rendition]
    assert made == sorted(made, reverse=True), "the short one did not wait for the end of the long one"  # ULIDs


async def test_nothing_is_left_of_a_video_deleted_meanwhile(
    backbone: Backbone, long_media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.consumer.SECOND_LOOK_SECONDS", 1.0)
    cleaner = Consumer(backbone.bus, "cleaner", Cleaner(videos=backbone.videos, objects=backbone.objects).handle)
    cleaning = asyncio.create_task(cleaner.run())
    async with preparing(backbone):
        video_id = await upload(backbone, long_media)
        await eventually(lambda: children("services.transcriber.renderer"), timeout=60)
        await backbone.videos.mark_deleting(video_id)
        await eventually(lambda: not children("services.transcriber.renderer"), timeout=60)
    # Whoever was broken off in the middle of keeping what it made leaves it to the cleaner's second look.
    await eventually(lambda: gone(backbone, video_id), timeout=60)
    await cleaner.stop(grace_seconds=1)
    await cleaning


def test_what_a_killed_process_left_behind_is_swept_and_nothing_else(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead = tmp_path / f"earmark-rendition-{child}-abc"
    mine = tmp_path / f"earmark-rendition-{os.getpid()}-abc"
    other = tmp_path / "earmark-slices-abc"
    for folder in (dead, mine, other):
        folder.mkdir()
        (folder / "rendition").write_bytes(b"x")
    assert sweep_folders(tmp_path) == 1
    assert (dead.exists(), mine.exists(), other.exists()) == (False, True, True)
