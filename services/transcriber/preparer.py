"""Prepares videos to be looked at: pictures of every part, and a rendition where browsers do not play the media.

Beside the way to being searchable: nothing waits for it, its processes stand back behind all others, and what fails
here fails no video. Both handlers may be killed at any time and are done again from the beginning; what they make
counts once the document says so, under a name of its own.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from ulid import ULID

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import ObjectNotFound, VideoNotFound
from services.common.events.consumer import Done, Event, Outcome, Retry
from services.common.objects import ObjectStore, media_key, pictures_prefix, rendition_key, rendition_prefix
from services.common.videos.model import PictureSet, Playable, Playback, Rendition, Video, VideoStatus
from services.transcriber import measures
from services.transcriber.child_process import ChildProcess, DecoderFailed, own_folder
from services.transcriber.problems import MediaProblem
from services.transcriber.turns import Turns

log = structlog.get_logger()

NO_PICTURE = "NO_PICTURE"
UNPLAYABLE = "UNPLAYABLE"


class Videos(Protocol):
    """The documents."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...

    async def set_playback(self, video_id: str, playback: Playback, *, only_from: Playable | None = None) -> bool:
        """Says whether browsers can play a video. False when it is gone, or in another state."""
        ...

    async def set_pictures(self, video_id: str, pictures: PictureSet) -> bool:
        """Says which pictures there are. False when the video is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparingLimits:
    """What the work may use.

    Attributes:
        memory_bytes: Address space of a process.
        stall_seconds: Time without a sign of progress after which it is killed.
        pictures_cpu_seconds: Processor time of the pictures of one video.
        rendition_cpu_per_second: Processor time of a rendition for each second of its media.
        rendition_cpu_seconds: Processor time of any rendition.
        rendition_bytes: Size of a rendition.
        rendition_threads: Threads of a rendition.
        step_cpu_seconds: Processor time of a turn.
        max_attempts: Attempts at one video.
        spool: Folder for what is being made; the system's temporary folder when None.
    """

    memory_bytes: int = 2 * 2**30
    stall_seconds: float = 600.0
    pictures_cpu_seconds: int = 900
    rendition_cpu_per_second: float = 3.0
    rendition_cpu_seconds: int = 48 * 3600
    rendition_bytes: int = 8 * 2**30
    rendition_threads: int = 1
    step_cpu_seconds: float = 10.0
    max_attempts: int = 3
    spool: Path | None = None


async def _there(videos: Videos, video_id: str) -> Video | None:
    """Gives a video that has media and stays."""
    try:
        video = await videos.get(video_id)
    except VideoNotFound:
        return None
    return None if video.status is VideoStatus.DELETING or video.source is None else video


class Illustrator:
    """Handles video.stored: finds out whether browsers can play the media, and makes pictures of it."""

    def __init__(self, *, videos: Videos, objects: ObjectStore, limits: PreparingLimits) -> None:
        self._videos = videos
        self._objects = objects
        self._limits = limits

    async def handle(self, event: Event) -> Outcome:
        """Looks at the video of the event; done twice, the second time finds it done."""
        assert isinstance(event.message, pb.VideoStored)
        video = await _there(self._videos, event.message.video_id)
        if video is None or (video.pictures is not None and video.playback is not None):
            return Done()
        try:
            with measures.PREPARING_SECONDS.labels("pictures").time():
                await self._look(video)
        except ObjectNotFound:
            pass  # deleted meanwhile
        except MediaProblem as problem:
            await self._give_up(video, problem.reason, problem.message)
        except DecoderFailed as error:
            log.warning("pictures_failed", video_id=video.video_id, error=error.message, deliveries=event.deliveries)
            if event.deliveries < self._limits.max_attempts:
                return Retry(error.reason, error.message)
            await self._give_up(video, error.reason, "The media made the decoder fail again and again.")
        return Done()

    async def _look(self, video: Video) -> None:
        job: dict[str, Any] = {
            "memory_bytes": self._limits.memory_bytes,
            "cpu_seconds": self._limits.pictures_cpu_seconds,
        }
        async with AsyncExitStack() as stack:
            media = await stack.enter_async_context(self._objects.local_copy(media_key(video.video_id)))
            folder = stack.enter_context(own_folder("pictures", self._limits.spool))
            job |= {"media": str(media), "folder": str(folder)}
            child = await stack.enter_async_context(
                ChildProcess.start("services.transcriber.illustrator", job, stall_seconds=self._limits.stall_seconds)
            )
            look = await child.line()
            # Once: a rendition may be there by the time that pictures are tried again.
            if video.playback is None and not await self._videos.set_playback(video.video_id, _playback(look["plan"])):
                return
            done = await child.line()
            await self._keep(video.video_id, folder, done["count"])

    async def _keep(self, video_id: str, folder: Path, count: int) -> None:
        name = str(ULID()).lower() if count else ""
        # The index last, so that whoever finds it finds all it tells of.
        files = sorted(folder.iterdir(), key=lambda path: path.name == "index.json") if count else []  # noqa: ASYNC240
        for path in files:
            await self._objects.put_file(pictures_prefix(video_id, name) + path.name, path)
        kept = await self._videos.set_pictures(video_id, PictureSet(name, count, "" if count else NO_PICTURE))
        if not kept:
            await self._objects.delete_prefix(pictures_prefix(video_id))
            return
        await _drop_others(self._objects, pictures_prefix(video_id), name)
        measures.PICTURES.inc(count)
        log.info("pictures_made", video_id=video_id, pictures=count)

    async def _give_up(self, video: Video, reason: str, message: str) -> None:
        measures.FAILURES.labels("illustrator", reason).inc()
        log.warning("pictures_given_up", video_id=video.video_id, reason=reason)
        now = await _there(self._videos, video.video_id)
        if now is not None and now.playback is None:
            await self._videos.set_playback(video.video_id, Playback(Playable.FAILED, reason, message))
        await self._videos.set_pictures(video.video_id, PictureSet(reason=reason))


class Renderer:
    """Handles video.unplayable: makes a rendition that browsers play. Several take turns, by processor time."""

    def __init__(self, *, videos: Videos, objects: ObjectStore, limits: PreparingLimits, turns: Turns) -> None:
        self._videos = videos
        self._objects = objects
        self._limits = limits
        self._turns = turns

    async def handle(self, event: Event) -> Outcome:
        """Renders the video of the event; done twice, the second time finds it done."""
        assert isinstance(event.message, pb.VideoUnplayable)
        video = await _there(self._videos, event.message.video_id)
        if video is None or video.playback is None or video.playback.state is not Playable.PREPARING:
            return Done()
        try:
            with measures.PREPARING_SECONDS.labels("rendition").time():
                await self._render(video.video_id)
        except ObjectNotFound:
            pass  # deleted meanwhile
        except MediaProblem as problem:
            await self._give_up(video.video_id, problem.reason, problem.message)
        except DecoderFailed as error:
            log.warning("rendition_failed", video_id=video.video_id, error=error.message, deliveries=event.deliveries)
            if event.deliveries < self._limits.max_attempts:
                return Retry(error.reason, error.message)
            await self._give_up(
                video.video_id, error.reason, "Converting the media failed again and again. Upload it as MP4."
            )
        return Done()

    async def _render(self, video_id: str) -> None:
        limits = self._limits
        async with AsyncExitStack() as stack:
            media = await stack.enter_async_context(self._objects.local_copy(media_key(video_id)))
            target = stack.enter_context(own_folder("rendition", limits.spool)) / "rendition"
            job: dict[str, Any] = {
                "media": str(media),
                "target": str(target),
                "threads": limits.rendition_threads,
                "step_cpu_seconds": limits.step_cpu_seconds,
                "cpu_per_second": limits.rendition_cpu_per_second,
                "memory_bytes": limits.memory_bytes,
                "cpu_seconds": limits.rendition_cpu_seconds,
                "file_bytes": limits.rendition_bytes,
            }
            child = await stack.enter_async_context(
                ChildProcess.start("services.transcriber.renderer", job, stall_seconds=limits.stall_seconds)
            )
            line: dict[str, Any] = {"type": ""}
            steps = 0
            while line["type"] != "done":
                async with self._turns.turn(had=steps):
                    await child.go_on()
                    line = await child.line()
                steps += 1
                if line["type"] == "step" and await _there(self._videos, video_id) is None:
                    return
            await self._keep(video_id, target, line["content_type"])
        measures.RENDITIONS.labels("copied" if line["copied"] else "encoded").inc()
        log.info("rendition_made", video_id=video_id, copied=line["copied"], steps=steps)

    async def _keep(self, video_id: str, target: Path, content_type: str) -> None:
        name = str(ULID()).lower()
        size = await self._objects.put_file(rendition_key(video_id, name), target)
        made = Playback(Playable.RENDITION, rendition=Rendition(name, content_type, size))
        if not await self._videos.set_playback(video_id, made, only_from=Playable.PREPARING):
            await self._objects.delete(rendition_key(video_id, name))
            return
        await _drop_others(self._objects, rendition_prefix(video_id), name)

    async def _give_up(self, video_id: str, reason: str, message: str) -> None:
        measures.FAILURES.labels("renderer", reason).inc()
        log.warning("rendition_given_up", video_id=video_id, reason=reason)
        await self._videos.set_playback(
            video_id, Playback(Playable.FAILED, reason, message), only_from=Playable.PREPARING
        )


def _playback(plan: dict[str, Any] | None) -> Playback:
    if plan is None:
        return Playback(Playable.ORIGINAL)
    return Playback(Playable.PREPARING, UNPLAYABLE, f"{plan['why'].capitalize()}; a rendition is being made.")


async def _drop_others(objects: ObjectStore, prefix: str, name: str) -> None:
    """Removes what was made before, or by a process that was killed before it could say so."""
    for key in await objects.list(prefix):
        if not key.startswith(f"{prefix}{name}") or not name:
            await objects.delete(key)
