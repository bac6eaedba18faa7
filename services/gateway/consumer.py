"""What the gateway does on events: cleans up after deleted videos, and fails what nobody could do."""

from __future__ import annotations

import structlog
from google.protobuf.message import DecodeError

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import VideoNotFound
from services.common.events import topology
from services.common.events.consumer import Done, Event, Outcome, Reject, Retry
from services.common.objects import ObjectStore, video_prefix
from services.common.videos.model import PictureSet, Playable, Playback, SliceState, Video, VideoStatus
from services.common.videos.store import VideoStore

log = structlog.get_logger()

SECOND_LOOK_SECONDS = 30.0
STAGES = {"slicer": "slice", "recognizer": "transcribe", "embedder": "embed"}
"""Stage a video's error names, by the consumer that gave up."""
_SLICE_STAGES = {"slice.cut": "transcribe", "slice.transcribed": "embed", "slice.embedded": "index"}
_MOVING = {SliceState.CUT, SliceState.TRANSCRIBED}


class Cleaner:
    """Removes what is kept of deleted videos: objects first, the document last, so that a crash between is resumed."""

    def __init__(self, *, videos: VideoStore, objects: ObjectStore) -> None:
        self._videos = videos
        self._objects = objects

    async def handle(self, event: Event) -> Outcome:
        """Handles video.deleted."""
        message = event.message
        if not isinstance(message, pb.VideoDeleted):
            return Reject("MALFORMED_EVENT", f"{event.subject} carries no VideoDeleted")
        video_id = message.video_id
        in_work = False
        try:
            video = await self._videos.get(video_id)
        except VideoNotFound:
            pass
        else:
            if video.restorable or (video.restored and video.status is not VideoStatus.DELETING):
                return Done()  # hidden only, until the sweeper says that it goes; or brought back since
            if video.status is not VideoStatus.DELETING:
                return Reject("NOT_DELETING", f"{video_id} is {video.status}, and is kept")
            in_work = _in_work(video)
        removed = await self._objects.delete_prefix(video_prefix(video_id))
        await self._videos.remove(video_id)
        log.info("video_removed", video_id=video_id, objects=removed)
        if in_work:
            # A worker that did not know, or was killed, may have put its result beside what was removed.
            return Retry("SECOND_LOOK", "work was under way; looking again for what it leaves", SECOND_LOOK_SECONDS)
        return Done()


def _in_work(video: Video) -> bool:
    """Whether somebody may be at work on it: at its slices, its pictures or its rendition."""
    if not video.slicing_done or any(part.state in _MOVING for part in video.slices):
        return True
    preparing = video.playback is None or video.playback.state is Playable.PREPARING
    return video.source is not None and (preparing or video.pictures is None)


class Undertaker:
    """Fails the video, or the slice, whose event ended in the dead-letter stream: nothing stays processing for ever."""

    def __init__(self, *, videos: VideoStore) -> None:
        self._videos = videos

    async def handle(self, event: Event) -> Outcome:
        """Handles a dead letter."""
        try:
            letter = pb.DeadLetter.FromString(event.payload)
            kind = topology.kind_of(letter.subject)
            if (known := topology.MESSAGES.get(kind)) is None:
                return Reject("UNKNOWN_EVENT", f"nothing is known of {letter.subject!r}")
            dead = known.FromString(letter.payload)
        except DecodeError:
            return Reject("MALFORMED_LETTER", f"{event.subject} carries no dead letter")
        video_id = str(getattr(dead, "video_id", ""))
        slice_id = str(getattr(dead, "slice_id", ""))
        stage = STAGES.get(letter.consumer) or _SLICE_STAGES.get(kind, "slice")
        log.warning(
            "event_dead",
            subject=letter.subject,
            consumer=letter.consumer,
            reason=letter.reason,
            deliveries=letter.deliveries,
            video_id=video_id,
            slice_id=slice_id,
        )
        if kind == "video.deleted":
            # Not the video's failure: the sweeper asks for its removal again.
            return Done()
        if slice_id:
            await self._videos.fail_slice(
                video_id, slice_id, stage=stage, reason=letter.reason, message=_message(letter, f"slice {slice_id}")
            )
        elif kind == "video.uploaded":
            await self._videos.fail(video_id, stage=stage, reason=letter.reason, message=_message(letter, "the video"))
        elif kind == "video.stored":
            # What is made beside fails no video: it is searchable without.
            await self._videos.set_pictures(video_id, PictureSet(reason=letter.reason))
        elif kind == "video.unplayable":
            given_up = Playback(Playable.FAILED, letter.reason, "No rendition could be made that browsers play.")
            await self._videos.set_playback(video_id, given_up, only_from=Playable.PREPARING)
        return Done()


def _message(letter: pb.DeadLetter, what: str) -> str:
    said = letter.message.strip().rstrip(".") or f"{what} was given up, and no reason was given"
    if letter.deliveries == 1:  # refused at first sight: it will be refused again, and its own words say what to do
        return f"{said}."
    return f"{what} was given up after {letter.deliveries} attempts: {said}. Retry does only what is missing."
