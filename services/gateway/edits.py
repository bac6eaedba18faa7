"""Transcripts corrected, or given from outside: what a person wrote stands beside what the recognizer heard.

An edited slice has a transcript object of its own, and the document says which one counts. Objects are written first
and the document last, in one update with the events it owes, so that a crash leaves the transcript as it was, or
edited. The recognizer never writes under the name of an edit.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import structlog

from services.common.errors import (
    InvalidArgument,
    NotFound,
    ObjectNotFound,
    TranscriptChanged,
    TranscriptInTheMaking,
    VideoNotFound,
)
from services.common.ids import is_video_id, slice_id
from services.common.objects import transcript_key
from services.common.transcript import Segment, SliceTranscript, Word
from services.common.videos.model import Slice, SliceState, Video, VideoStatus
from services.gateway import transcript_form
from services.gateway.attributes import one_line
from services.gateway.bodies import Bodies
from services.gateway.import_form import MAX_SEGMENT_CHARS, MAX_SPEAKER_CHARS
from services.gateway.import_slices import cut
from services.gateway.tidying import tidying
from services.gateway.word_times import with_times

log = structlog.get_logger()

GIVEN = "imported"
"""Stands where the recognizer's name does, for words that somebody brought."""
BEHIND_SECONDS = 5.0
"""Captions tend to stay a little longer than the picture."""
_AT_ONCE = 8
_ATTEMPTS = 5


class Objects(Protocol):
    """Where transcripts are kept."""

    async def put(self, key: str, data: bytes) -> int:
        """Writes an object."""
        ...

    async def get(self, key: str) -> bytes:
        """Gives a whole object. Raises ObjectNotFound."""
        ...

    async def delete(self, key: str) -> None:
        """Removes an object; removing one that is not there is fine."""
        ...


class Videos(Protocol):
    """The documents."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...

    async def edit_transcript(
        self,
        video_id: str,
        edits: Mapping[str, str],
        *,
        transcript_revision: int,
        new_slices: Sequence[tuple[str, float, float]],
        duration: float | None,
    ) -> Video:
        """Makes edited transcripts count. Raises VideoNotFound, TranscriptChanged, TranscriptInTheMaking."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentChange:
    """What is to change of a segment; None stays as it is."""

    text: str | None = None
    start: float | None = None
    end: float | None = None
    speaker: str | None = None
    suspect: Any = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an edit comes to."""

    transcripts: list[SliceTranscript]
    new_slices: list[tuple[str, float, float]]
    duration: float | None = None


class Edits:
    """Changes transcripts.

    Args:
        objects: Where slices' transcripts are.
        videos: The documents.
        slice_seconds: Length of a slice aimed at, where a video has none yet.
        max_bytes: Size limit of a body.
        max_segments: Limit of segments.
        concurrency: Edits under way at once; one more is refused.
        idle_seconds: Time without a byte after which a body is given up.
    """

    def __init__(
        self,
        *,
        objects: Objects,
        videos: Videos,
        slice_seconds: float,
        max_bytes: int,
        max_segments: int,
        concurrency: int,
        idle_seconds: float,
    ) -> None:
        self._objects = objects
        self._videos = videos
        self._slice_seconds = slice_seconds
        self.max_segments = max_segments
        self._bodies = Bodies(
            "edits",
            max_bytes=max_bytes,
            too_large="is it the right file?",
            concurrency=concurrency,
            idle_seconds=idle_seconds,
        )
        self.check_size, self.close = self._bodies.check_size, self._bodies.close

    async def put(self, video_id: str, blocks: AsyncIterable[bytes], form: str, revision: int | None = None) -> Video:
        """Puts a body in place of the transcript there is; see `put_given`.

        Args:
            video_id: The video.
            blocks: The body.
            form: vtt, srt or json.
            revision: The transcript's revision the caller knows; None for whichever it is.

        Raises:
            MediaTooLarge: It is over the size limit.
            DeadlineExceeded: The bytes stopped coming.
            EarmarkError: As of `put_given`.
        """
        _check_id(video_id)
        with self._bodies.place():
            async with self._bodies.read(blocks) as body:
                read = partial(transcript_form.read, body, form, max_segments=self.max_segments)
                return await self._put(video_id, read, revision)

    async def put_given(
        self, video_id: str, read: Callable[[], transcript_form.GivenTranscript], revision: int | None = None
    ) -> Video:
        """Puts a transcript in place of the one there is; slices in which nothing changes stay as they are.

        Args:
            video_id: The video.
            read: Called in a thread, gives the transcript.
            revision: The transcript's revision the caller knows; None for whichever it is.

        Raises:
            VideoNotFound: There is no such video.
            InvalidArgument: Something in the transcript is wrong.
            TranscriptInTheMaking: The video is not all cut yet.
            TranscriptChanged: It was edited since that revision.
            Overloaded: Too many edits are under way.
        """
        _check_id(video_id)
        with self._bodies.place():
            return await self._put(video_id, read, revision)

    async def _put(
        self, video_id: str, read: Callable[[], transcript_form.GivenTranscript], revision: int | None
    ) -> Video:
        given = await self._bodies.run(read)
        for attempt in range(_ATTEMPTS):
            video = await self._open(video_id, revision)
            if not (video.slicing_done or video.status is VideoStatus.FAILED):
                raise TranscriptInTheMaking(
                    f"{video_id} is still being cut, and more of it is to come; wait until "
                    "progress.slicing_done is true",
                    metadata={"status": video.status.value},
                )
            present = await self._present(video)
            plan = await self._bodies.run(_planned, video, present, given, self._slice_seconds)
            try:
                return await self._keep(video, plan)
            except TranscriptChanged:
                if revision is not None or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def change(
        self, video_id: str, segment: str, change: SegmentChange, revision: int | None = None
    ) -> tuple[Video, Segment]:
        """Changes one segment and gives it.

        Args:
            video_id: The video.
            segment: Its `segment_id`.
            change: What is to change.
            revision: The transcript's revision the caller knows; None for whichever it is.

        Raises:
            VideoNotFound: There is no such video.
            NotFound: It has no such segment.
            InvalidArgument: Nothing is to change, or something in the change is wrong.
            TranscriptInTheMaking: The slice it is of has no transcript yet.
            TranscriptChanged: The transcript was edited since that revision.
        """
        if change == SegmentChange():
            raise InvalidArgument("nothing is to change; give text, start, end, speaker or suspect")
        _check_id(video_id)
        name, _, number = segment.partition(".")
        for attempt in range(_ATTEMPTS):
            video = await self._open(video_id, revision)
            part = video.slice(name)
            index = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else -1
            if part is None or index < 0:
                raise _no_segment(video_id, segment)
            if part.state is SliceState.CUT or (found := await self._fetch(video_id, part)) is None:
                raise TranscriptInTheMaking(
                    f"the part of {video_id} that segment is of has not been transcribed; wait for it, or put a "
                    "whole transcript",
                    metadata={"slice_state": part.state.value},
                )
            if index >= len(found.segments):
                raise _no_segment(video_id, segment)
            edited = _changed(found, index, change)
            if edited == found:
                return video, found.segments[index]
            try:
                video = await self._keep(video, _Plan([edited], []))
            except TranscriptChanged:
                if revision is not None or attempt == _ATTEMPTS - 1:
                    raise
                continue
            return video, edited.segments[index]
        raise AssertionError("the last attempt returns or raises")

    async def _open(self, video_id: str, revision: int | None) -> Video:
        video = await self._videos.get(video_id)
        if video.status is VideoStatus.DELETING:
            raise VideoNotFound(video_id)
        if revision is not None and revision > video.transcript_revision:
            raise TranscriptChanged(
                f"the transcript of {video_id} has no revision {revision} yet: it is at {video.transcript_revision}; "
                "get it again and repeat your change",
                metadata={"transcript_revision": str(video.transcript_revision)},
            )
        if revision is not None and video.transcript_revision != revision:
            raise TranscriptChanged(
                f"the transcript of {video_id} is at revision {video.transcript_revision}, not {revision}: somebody "
                "has edited it; get it again and repeat your change",
                metadata={"transcript_revision": str(video.transcript_revision)},
            )
        return video

    async def _keep(self, video: Video, plan: _Plan) -> Video:
        if not plan.transcripts and not plan.new_slices:
            return video  # it says the same
        # A name of its own for each: of two edits at once one is refused, and must not have written over the other's.
        edits = {transcript.slice_id: secrets.token_hex(8) for transcript in plan.transcripts}
        keys = {name: transcript_key(video.video_id, name, edit) for name, edit in edits.items()}
        try:
            for some in _batched(plan.transcripts):
                await asyncio.gather(*(self._objects.put(keys[one.slice_id], one.to_bytes()) for one in some))
            edited = await self._videos.edit_transcript(
                video.video_id,
                edits,
                transcript_revision=video.transcript_revision,
                new_slices=plan.new_slices,
                duration=plan.duration,
            )
        except (TranscriptChanged, TranscriptInTheMaking, VideoNotFound):
            # Of other failures nobody knows whether the document was changed: the objects stay.
            await self._forget(keys.values())
            raise
        # Of edits only the last is kept, and what the recognizer heard.
        former = [part for part in video.slices if part.slice_id in edits and part.edit]
        await self._forget(transcript_key(video.video_id, part.slice_id, part.edit) for part in former)
        log.info("transcript_edited", video_id=video.video_id, slices=len(edits), revision=edited.transcript_revision)
        return edited

    async def _forget(self, keys: Iterable[str]) -> None:
        with tidying("former edits"):
            for key in keys:
                await self._objects.delete(key)

    async def _present(self, video: Video) -> dict[str, SliceTranscript]:
        found: dict[str, SliceTranscript] = {}
        spoken = [part for part in video.slices if part.state is not SliceState.CUT]
        for some in _batched(spoken):
            read = await asyncio.gather(*(self._fetch(video.video_id, part) for part in some))
            found |= {one.slice_id: one for one in read if one is not None}
        return found

    async def _fetch(self, video_id: str, part: Slice) -> SliceTranscript | None:
        try:
            stored = await self._objects.get(transcript_key(video_id, part.slice_id, part.edit))
        except ObjectNotFound:
            return None  # it failed before it was transcribed
        return await self._bodies.run(SliceTranscript.from_bytes, stored)


def _check_id(video_id: str) -> None:
    if not is_video_id(video_id):
        raise VideoNotFound(video_id[:64])


def _no_segment(video_id: str, segment: str) -> NotFound:
    return NotFound(
        f"{video_id} has no segment {segment[:40]!r}; the transcript as JSON has each one's segment_id",
        reason="SEGMENT_NOT_FOUND",
        metadata={"video_id": video_id},
    )


def _batched(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))


# ── a whole transcript ───────────────────────────────────────────────────────────────────────────


def _planned(
    video: Video, present: Mapping[str, SliceTranscript], given: transcript_form.GivenTranscript, slice_seconds: float
) -> _Plan:
    """Gives the slices whose transcripts change, and those there are to be, if the video had too few."""
    slices = sorted(video.slices, key=lambda part: part.start_time)
    end = max(segment.end for segment in given.segments)
    # Where media was cut its length is known; a transcript alone may go on.
    bound = video.duration if video.has_media and video.metadata.asr_model != GIVEN else None
    if bound is not None and end > bound + BEHIND_SECONDS:
        raise InvalidArgument(
            f"the transcript goes on until {end:g} s, but the media is {bound:g} s long; check that it is of this "
            "video, and that its times are in seconds",
            field="segments",
        )
    covered = slices[-1].end_time if slices else 0.0
    own: dict[str, list[Segment]] = {part.slice_id: [] for part in slices}
    behind: list[Segment] = []
    at = 0
    for segment in given.segments:
        while at + 1 < len(slices) and slices[at + 1].start_time <= segment.start:
            at += 1
        if slices and (bound is not None or segment.start < covered):
            own[slices[at].slice_id].append(segment)
        else:
            behind.append(segment)
    changed: list[SliceTranscript] = []
    for part in slices:
        before = present.get(part.slice_id)
        after = _carried(own[part.slice_id], before.segments if before else [])
        if before is None or after != before.segments:
            blank = _blank(video, part.slice_id, part.start_time, part.end_time, given.language)
            changed.append(replace(before or blank, segments=after))
    if not behind:
        return _Plan(changed, [])
    # Cut as an import is, and put behind what there is.
    moved = [replace(one, start=one.start - covered, end=one.end - covered, words=[]) for one in behind]
    new: list[tuple[str, float, float]] = []
    taken = 0
    first = 1 + max((int(part.slice_id) for part in slices), default=-1)
    whole = max(end, video.duration or 0.0)
    for index, piece in enumerate(cut(moved, duration=whole - covered, slice_seconds=slice_seconds)):
        name, start, stop = slice_id(first + index), round(covered + piece.start, 3), round(covered + piece.end, 3)
        new.append((name, start, stop))
        segments = behind[taken : taken + len(piece.segments)]
        taken += len(segments)
        changed.append(replace(_blank(video, name, start, stop, given.language), segments=segments))
    return _Plan(changed, new, whole if whole != video.duration else None)


def _blank(video: Video, name: str, start: float, end: float, language: str) -> SliceTranscript:
    spoken = language or video.metadata.language or ""
    return SliceTranscript(video.video_id, name, start, end, spoken, 1.0 if language else 0.0, GIVEN, [])


def _carried(segments: Sequence[Segment], before: Sequence[Segment]) -> list[Segment]:
    """Gives segments with what is known of them: all of it where they are as before, else the times of their words."""
    same = {_identity(segment): segment for segment in before}
    heard = [word for segment in before for word in segment.words]
    carried: list[Segment] = []
    for segment in segments:
        if (known := same.get(_identity(segment))) is not None:
            carried.append(known)
        elif segment.words:
            carried.append(segment)
        else:
            carried.append(replace(segment, words=with_times(segment.text, segment.start, segment.end, heard)))
    return carried


def _identity(segment: Segment) -> tuple[float, float, str, str, str]:
    return round(segment.start, 3), round(segment.end, 3), one_line(segment.text), segment.speaker, segment.suspect


# ── one segment ──────────────────────────────────────────────────────────────────────────────────


def _changed(transcript: SliceTranscript, index: int, change: SegmentChange) -> SliceTranscript:
    before = transcript.segments[index]
    after = before
    if change.start is not None or change.end is not None:
        start = before.start if change.start is None else round(change.start, 3)
        end = before.end if change.end is None else round(change.end, 3)
        _check_times(transcript, index, start, end)
        after = replace(after, start=start, end=end, words=_moved(before, start, end))
    if change.text is not None and (text := one_line(change.text)) != one_line(before.text):
        if not text:
            raise InvalidArgument(
                "a segment cannot be without a text; set suspect to true for what nobody says", field="text"
            )
        if len(text) > MAX_SEGMENT_CHARS:
            raise InvalidArgument(
                f"the text has {len(text)} characters, at most {MAX_SEGMENT_CHARS} are allowed", field="text"
            )
        # What the model knew was of other words.
        after = Segment(
            after.start,
            after.end,
            text,
            with_times(text, after.start, after.end, after.words),
            speaker=after.speaker,
            language=after.language,
            speech_share=after.speech_share,
        )
    if change.speaker is not None:
        speaker = one_line(change.speaker)
        if len(speaker) > MAX_SPEAKER_CHARS:
            raise InvalidArgument(f"the speaker is over {MAX_SPEAKER_CHARS} characters", field="speaker")
        after = replace(after, speaker=speaker)
    if change.suspect is not None:
        after = replace(after, suspect=transcript_form.suspicion(change.suspect, "suspect"))
    segments = list(transcript.segments)
    segments[index] = after
    return replace(transcript, segments=segments)


def _check_times(transcript: SliceTranscript, index: int, start: float, end: float) -> None:
    """Refuses times over those of the neighbours, but for what overlapped already."""
    before = transcript.segments[index]
    if start < 0:
        raise InvalidArgument(f"a segment cannot start at {start:g} s; a start is at least 0", field="start")
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise InvalidArgument(
            f"a segment cannot go from {start:g} s to {end:g} s; its end must be behind its start", field="start"
        )
    earliest, latest = transcript.start, transcript.end
    if index:
        earliest = max(earliest, transcript.segments[index - 1].end)
    if index + 1 < len(transcript.segments):
        latest = min(latest, transcript.segments[index + 1].start)
    earliest, latest = min(earliest, before.start), max(latest, before.end)
    if start < earliest or end > latest:
        raise InvalidArgument(
            f"from {start:g} s to {end:g} s it would run into its neighbours: there is room from {earliest:g} s to "
            f"{latest:g} s; change the neighbours first, or put the whole transcript",
            field="start" if start < earliest else "end",
        )


def _moved(segment: Segment, start: float, end: float) -> list[Word]:
    """Gives the words of a segment whose times were set by hand: pulled along with them."""
    length = segment.end - segment.start
    if length <= 0:
        return []
    scale = (end - start) / length

    def at(time: float) -> float:
        return round(min(max(start + (time - segment.start) * scale, start), end), 3)

    return [replace(word, start=at(word.start), end=at(word.end)) for word in segment.words]
