"""The videos there are: looked at, listed, tried again, taken out; their transcripts and their media."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, Protocol, TypeVar

import orjson
from ulid import ULID

from services.common.errors import InvalidArgument, NotFound, ObjectNotFound, VideoNotFound
from services.common.executor import BoundedExecutor
from services.common.ids import is_video_id
from services.common.objects import media_key, rendition_key, transcript_key
from services.common.transcript import SliceTranscript
from services.common.videos.model import Playable, Rendition, Slice, SliceState, Video, VideoStatus
from services.gateway import captions
from services.gateway.attributes import checked_collection, checked_tags, checked_title
from services.gateway.captions import CaptionFormat
from services.gateway.cursor import decode_position, encode_position, fingerprint

T = TypeVar("T")
UNCHANGED: Any = object()
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_FETCHES = 8
_LOOKS = 3
_SPOKEN = {SliceState.TRANSCRIBED, SliceState.EMBEDDED, SliceState.INDEXED}
_OVER = {VideoStatus.READY, VideoStatus.FAILED}


class Videos(Protocol):
    """The documents."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...

    async def page(
        self, *, limit: int, before: tuple[dt.datetime, str] | None = None, status: VideoStatus | None = None
    ) -> list[Video]:
        """Gives up to `limit` videos, newest first."""
        ...

    async def retry(self, video_id: str) -> Video:
        """Does again what failed. Raises VideoNotFound, FailedPrecondition."""
        ...

    async def describe(self, video_id: str, fields: dict[str, Any]) -> Video:
        """Changes any of title, collection and tags. Raises VideoNotFound."""
        ...

    async def mark_deleting(self, video_id: str, *, undo_seconds: float) -> Video:
        """Marks a video for removal; for so long it can be brought back. Raises VideoNotFound."""
        ...

    async def restore(self, video_id: str) -> Video:
        """Brings a deleted video back. Raises VideoNotFound, FailedPrecondition."""
        ...

    async def want_pictures(self, video_id: str) -> bool:
        """Has pictures made of a video, and what browsers make of it found out, where nobody has yet."""
        ...

    async def want_rendition(self, video_id: str) -> bool:
        """Has a rendition made again that is under way for too long to be."""
        ...


class Objects(Protocol):
    """The bytes."""

    async def get(self, key: str) -> bytes:
        """Gives a whole object. Raises ObjectNotFound."""
        ...

    async def size(self, key: str) -> int:
        """Gives the size of an object in bytes. Raises ObjectNotFound."""
        ...

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Gives the bytes `start` to `end` (exclusive). Raises ObjectNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class VideoPage:
    """Videos of a list, and the cursor behind them (empty on the last page)."""

    videos: list[Video]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript in one of its forms."""

    body: bytes
    media_type: str
    complete: bool
    """Whether everything that was said is in it."""
    revision: int = 0
    """How often it was edited."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said in a video, as far as it is transcribed."""

    video: Video
    transcripts: list[SliceTranscript]
    complete: bool
    """Whether everything that was said is in it."""


@dataclass(frozen=True, slots=True)
class Media:
    """Stored media, as it can be served.

    Attributes:
        video: The video it is of.
        key: Where it is.
        size: Bytes.
        content_type: Its type: the uploader's word, or that of the rendition.
        filename: What to call it when it is saved.
        etag: Tells it from other bytes; empty where that is not known.
        modified: When it was made.
        final: Whether the same will be given for good.
    """

    video: Video
    key: str
    size: int
    content_type: str
    filename: str
    etag: str
    modified: dt.datetime
    final: bool


class Library:
    """What the outside can do with videos, over HTTP and gRPC alike.

    Args:
        videos: The documents.
        objects: The bytes.
        undo_seconds: For how long a deleted video can be brought back.
    """

    def __init__(self, *, videos: Videos, objects: Objects, undo_seconds: float = 0) -> None:
        self._videos = videos
        self._undo_seconds = undo_seconds
        self._objects = objects
        # Reading the words of a video of hours takes long enough to be felt in a search.
        self._reading = BoundedExecutor("transcripts", threads=1, queue=64)

    def close(self) -> None:
        """Ends the thread."""
        self._reading.close()

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        return await self._videos.get(_checked(video_id))

    async def list(self, *, limit: int = 0, cursor: str = "", status: str = "") -> VideoPage:
        """Gives a page of videos, newest first.

        Args:
            limit: Videos at most; above 200 is taken as 200, below 1 as 50.
            cursor: `next_cursor` of the page before.
            status: Only videos in this state; empty means any.

        Raises:
            InvalidArgument: The cursor or the status is wrong.
        """
        try:
            wanted = VideoStatus(status) if status else None
        except ValueError:
            allowed = ", ".join(VideoStatus)
            raise InvalidArgument(f"status {status[:32]!r} is not one of {allowed}", field="status") from None
        limit = min(limit, MAX_LIMIT) if limit > 0 else DEFAULT_LIMIT
        bound = fingerprint("videos", status)
        before = _position(decode_position(cursor, bound))
        videos = await self._videos.page(limit=limit + 1, before=before, status=wanted)
        page = videos[:limit]
        if len(videos) <= limit:
            return VideoPage(page, "")
        last = page[-1]
        position = f"{last.metadata.uploaded_at.isoformat()} {last.video_id}"
        return VideoPage(page, encode_position(position, bound))

    async def describe(
        self,
        video_id: str,
        *,
        title: str = UNCHANGED,
        collection: str | None = UNCHANGED,
        tags: Sequence[str] | None = UNCHANGED,
    ) -> Video:
        """Changes what is given of title, collection and tags.

        Raises:
            VideoNotFound: There is no such video.
            InvalidArgument: Nothing is given, or something is wrong.
        """
        fields: dict[str, Any] = {}
        if title is not UNCHANGED:
            fields["title"] = checked_title(title)
            if not fields["title"]:
                raise InvalidArgument("a title cannot be empty; leave it out to keep the one there is", field="title")
        if collection is not UNCHANGED:
            fields["collection"] = checked_collection(collection or "")
        if tags is not UNCHANGED:
            fields["tags"] = list(checked_tags(tags or ()))
        if not fields:
            raise InvalidArgument("nothing is to change; give title, collection or tags")
        return await self._videos.describe(_checked(video_id), fields)

    async def delete(self, video_id: str, *, now: bool = False) -> Video:
        """Hides a video at once and has it removed later, or with `now` for good. Raises VideoNotFound."""
        return await self._videos.mark_deleting(_checked(video_id), undo_seconds=0 if now else self._undo_seconds)

    async def restore(self, video_id: str) -> Video:
        """Brings a deleted video back.

        Raises:
            VideoNotFound: There is no such video (any more).
            FailedPrecondition: It is not deleted, or it is too late.
        """
        return await self._videos.restore(_checked(video_id))

    async def retry(self, video_id: str) -> Video:
        """Does again what failed of a video. Raises VideoNotFound, FailedPrecondition when it has not failed."""
        return await self._videos.retry(_checked(video_id))

    async def transcript(
        self, video_id: str, form: str, suspect: str = "", *, words: bool = False, original: bool = False
    ) -> Transcript:
        """Gives what was said, as far as it is transcribed.

        Args:
            video_id: The video.
            form: json, vtt, srt or txt.
            suspect: `include` or `exclude` what likely nobody said; when empty json includes it, with the reason, and
                the others do not.
            words: Whether captions have the time of each word; only vtt can.
            original: Whether what was heard is wanted, before anybody edited it.

        Raises:
            VideoNotFound: There is no such video.
            InvalidArgument: There is no such form.
        """
        try:
            chosen = CaptionFormat(form or CaptionFormat.JSON)
        except ValueError:
            allowed = ", ".join(CaptionFormat)
            raise InvalidArgument(f"format {form[:32]!r} is not one of {allowed}", field="format") from None
        if suspect not in {"", "include", "exclude"}:
            raise InvalidArgument(f"suspect {suspect[:32]!r} is neither include nor exclude", field="suspect")
        if words and chosen is not CaptionFormat.VTT:
            raise InvalidArgument("words=true is for format=vtt; json has them anyway", field="words")
        all_of_it = suspect == "include" or (not suspect and chosen is CaptionFormat.JSON)
        write = partial(_written, form=chosen, all_of_it=all_of_it, words=words)
        return await self.spoken(video_id, write, original=original)

    async def spoken(self, video_id: str, write: Callable[[Spoken], T], *, original: bool = False) -> T:
        """Gives what `write`, called in a thread, makes of what was said.

        Args:
            video_id: The video.
            write: Gives what is wanted.
            original: Whether what was heard is wanted, before anybody edited it.

        Raises:
            VideoNotFound: There is no such video.
        """
        looks = 0
        while True:
            looks += 1
            video = await self.present(video_id)
            spoken = [part for part in video.slices if part.state in _SPOKEN or part.edit or video.status in _OVER]
            stored = await self._stored(video, spoken, original)
            # An edit takes the one before it away; whoever was about to read that looks again.
            lost = any(data is None and part.edit for part, data in zip(spoken, stored, strict=True))
            if original or not lost or looks == _LOOKS:
                break
        found = [data for data in stored if data is not None]
        complete = video.slicing_done and len(found) == len(video.slices)

        def written() -> T:
            return write(Spoken(video, [SliceTranscript.from_bytes(data) for data in found], complete))

        return await self._reading.run(written)

    async def _stored(self, video: Video, parts: Sequence[Slice], original: bool) -> Sequence[bytes | None]:
        fetching = asyncio.Semaphore(_FETCHES)

        async def fetch(part: Slice) -> bytes | None:
            async with fetching:
                try:
                    key = transcript_key(video.video_id, part.slice_id, "" if original else part.edit)
                    return await self._objects.get(key)
                except ObjectNotFound:  # failed before it was transcribed, or deleted meanwhile
                    return None

        return await asyncio.gather(*(fetch(part) for part in parts))

    async def media(self, video_id: str, *, original: bool = False) -> Media:
        """Says what there is to be played of a video: its media, or the rendition of it.

        Args:
            video_id: The video.
            original: Whether its media is wanted, whatever browsers make of it.

        Raises:
            VideoNotFound: There is no such video.
            NotFound: Its media is not stored: it is still to be fetched from its URL, or there never will be any.
        """
        video = await self.present(video_id)
        if not video.has_media:
            raise NotFound(
                f"{video.video_id} was made of a transcript and has no media; its transcript is all there is",
                reason="NO_MEDIA",
                metadata={"video_id": video.video_id},
            )
        if video.source is not None and video.playback is None:
            await self._videos.want_pictures(video.video_id)  # and to be looked at: it is older than that is done
        elif video.playback is not None and video.playback.state is Playable.PREPARING:
            await self._videos.want_rendition(video.video_id)
        try:
            made = video.playback.rendition if video.playback and not original else None
            if made is not None:
                return await self._rendition(video, made)
            return await self._original(video, final=original or _is_original(video))
        except ObjectNotFound:
            raise NotFound(
                f"the media of {video.video_id} is not stored (yet); look at its status",
                reason="MEDIA_NOT_STORED",
                metadata={"video_id": video.video_id},
            ) from None

    def media_bytes(self, media: Media, start: int, end: int) -> AsyncIterator[bytes]:
        """Gives the bytes `start` to `end` (exclusive) of media, in blocks."""
        return self._objects.stream(media.key, start, end)

    async def _original(self, video: Video, *, final: bool) -> Media:
        key, source = media_key(video.video_id), video.source
        return Media(
            video,
            key,
            size=await self._objects.size(key),
            content_type=source.content_type if source else "",
            filename=(source.filename if source else "") or video.video_id,
            etag=source.sha256 if source else "",
            modified=video.metadata.uploaded_at,
            final=final,
        )

    async def _rendition(self, video: Video, made: Rendition) -> Media:
        key = rendition_key(video.video_id, made.name)
        stem = PurePath((video.source.filename if video.source else "") or video.video_id).stem
        return Media(
            video,
            key,
            size=await self._objects.size(key),
            content_type=made.content_type,
            filename=f"{stem}.{'webm' if made.content_type.endswith('webm') else 'mp4'}",
            etag=f"{video.video_id}-{made.name}",
            modified=ULID.from_str(made.name.upper()).datetime,
            final=True,
        )

    async def present(self, video_id: str) -> Video:
        """Gives a video that is not being deleted."""
        video = await self.get(video_id)
        if video.status is VideoStatus.DELETING:
            raise VideoNotFound(video_id)
        return video


def _is_original(video: Video) -> bool:
    return video.playback is not None and video.playback.state in {Playable.ORIGINAL, Playable.FAILED}


def _checked(video_id: str) -> str:
    """An id of another form is of no video, and need not be looked for."""
    if not is_video_id(video_id):
        raise VideoNotFound(video_id[:64])  # it may be of any length, and is told back
    return video_id


def _position(text: str) -> tuple[dt.datetime, str] | None:
    if not text:
        return None
    at, _, video_id = text.partition(" ")
    try:
        return dt.datetime.fromisoformat(at), _checked(video_id)
    except (ValueError, VideoNotFound):
        raise InvalidArgument("the cursor is not one of ours; leave it out to begin again", field="cursor") from None


def _written(spoken: Spoken, *, form: CaptionFormat, all_of_it: bool, words: bool) -> Transcript:
    body = _body(spoken, form, all_of_it=all_of_it, words=words)
    return Transcript(body, captions.MEDIA_TYPES[form], spoken.complete, spoken.video.transcript_revision)


def _body(spoken: Spoken, form: CaptionFormat, *, all_of_it: bool, words: bool) -> bytes:
    video, transcripts = spoken.video, spoken.transcripts
    if not all_of_it and form is not CaptionFormat.JSON:
        transcripts = [transcript.believed() for transcript in transcripts]
    language = video.metadata.language
    match form:
        case CaptionFormat.JSON:
            shown = captions.to_json(
                video.video_id,
                transcripts,
                language=language,
                complete=spoken.complete,
                revision=video.transcript_revision,
                suspect=all_of_it,
            )
            return orjson.dumps(shown)
        case CaptionFormat.VTT:
            return captions.to_vtt(transcripts, language=written_in(transcripts) or language, words=words).encode()
        case CaptionFormat.SRT:
            return captions.to_srt(transcripts).encode()
        case CaptionFormat.TXT:
            return captions.to_txt(transcripts).encode()


def written_in(transcripts: Sequence[SliceTranscript]) -> str:
    """Gives the language of most of the text, which of a translation is not the one spoken; empty when unknown."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for transcript in transcripts:
        for segment in transcript.segments:
            seconds[segment.language or transcript.language] += segment.end - segment.start
    return max(seconds, key=lambda code: seconds[code], default="")
