"""What the transcriber does on events: cut uploaded videos, transcribe cut slices. Both may be done twice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from contextlib import aclosing
from time import perf_counter

import structlog

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import EarmarkError, ObjectNotFound, VideoNotFound
from services.common.events.consumer import Done, Event, Outcome, Reject, Retry
from services.common.ids import slice_id as id_of_slice
from services.common.objects import ObjectStore, media_key, slice_audio_key, transcript_key
from services.common.transcript import SliceTranscript
from services.common.videos.model import SliceState, Source, Video, VideoStatus, VideoWarning
from services.common.videos.store import VideoStore
from services.transcriber import measures
from services.transcriber.child_process import DecoderFailed
from services.transcriber.fetcher import Fetcher
from services.transcriber.problems import MediaProblem
from services.transcriber.recognizer import Instructions
from services.transcriber.slicer import AudioSlice, Slicer
from services.transcriber.transcription import recognize
from services.transcriber.turns import Turns
from services.transcriber.worker_pool import RecognizerFailed, WorkerPool

log = structlog.get_logger()


class _Gone(Exception):
    """The video was deleted meanwhile."""


class SlicerHandler:
    """Handles video.uploaded: fetches the media if need be, cuts it, and stores each slice as soon as it is cut.

    Slices that are there already are kept: a second go begins where the last stored slice ends. Many videos may be
    open at once; they are cut in turns of one slice, and a video with fewer slices goes before one with more.
    """

    def __init__(
        self,
        *,
        videos: VideoStore,
        objects: ObjectStore,
        slicer: Slicer,
        fetcher: Fetcher,
        turns: Turns,
        max_attempts: int,
        fetch_attempts: int,
    ) -> None:
        self._videos = videos
        self._objects = objects
        self._slicer = slicer
        self._fetcher = fetcher
        self._turns = turns
        self._max_attempts = max_attempts
        self._fetch_attempts = fetch_attempts

    async def __call__(self, event: Event) -> Outcome:
        """Cuts the video of the event."""
        assert isinstance(event.message, pb.VideoUploaded)
        video = await self._videos.begin_processing(event.message.video_id)
        if video is None:
            return Done()
        try:
            with measures.SLICING_SECONDS.time():
                if video.source is None:
                    await self._fetch(video, event)
                await self._cut(video)
        except _Gone:
            log.info("video_gone", video_id=video.video_id)
        except MediaProblem as problem:
            measures.FAILURES.labels("slicer", problem.reason).inc()
            return Reject(problem.reason, problem.message)
        except DecoderFailed as error:
            measures.FAILURES.labels("slicer", error.reason).inc()
            log.warning("decoder_failed", video_id=video.video_id, error=error.message, deliveries=event.deliveries)
            if event.deliveries >= self._max_attempts:
                message = f"The media made the decoder fail {event.deliveries} times. Convert it, to MP4 for example."
                return Reject(error.reason, message)
            return Retry(error.reason, error.message)
        return Done()

    async def _fetch(self, video: Video, event: Event) -> None:
        key = media_key(video.video_id)
        if video.url is None:
            raise MediaProblem("MEDIA_MISSING", "The video has neither media nor an address to fetch it from.")
        try:
            fetched = await self._fetcher.fetch(video.url, key)
        except EarmarkError as error:
            measures.FAILURES.labels("fetcher", error.reason).inc()
            if not error.transient or event.deliveries >= self._fetch_attempts:
                raise MediaProblem(error.reason, f"The media could not be fetched: {error.message}.") from error
            raise
        measures.FETCHED_BYTES.inc(fetched.bytes)
        source = Source(fetched.filename, fetched.content_type, fetched.bytes, fetched.sha256)
        if not await self._videos.set_source(video.video_id, source):
            await self._objects.delete(key)
            raise _Gone
        log.info("media_fetched", video_id=video.video_id, bytes=fetched.bytes)

    async def _cut(self, video: Video) -> None:
        began = perf_counter()
        there = video.slices
        try:
            async with (
                self._objects.local_copy(media_key(video.video_id)) as media,
                self._slicer.open(media, first_index=len(there), start=there[-1].end_time if there else 0.0) as slicing,
                aclosing(slicing.slices()) as slices,
            ):
                for count in itertools.count(len(there)):
                    async with self._turns.turn(had=count):
                        cut = await anext(slices, None)
                        if cut is None:
                            break
                        await self._store(video.video_id, cut)
        except ObjectNotFound as error:
            await self._ensure_there(video.video_id)
            raise MediaProblem("MEDIA_MISSING", "The media is no longer in the store. Upload it again.") from error
        warnings = [VideoWarning(warning.reason, warning.message) for warning in slicing.warnings]
        await self._videos.finish_slicing(video.video_id, duration=slicing.duration, warnings=warnings)
        seconds = round(perf_counter() - began, 3)
        log.info(
            "video_cut", video_id=video.video_id, media_seconds=slicing.duration, seconds=seconds, resumed=len(there)
        )

    async def _store(self, video_id: str, cut: AudioSlice) -> None:
        slice_id = id_of_slice(cut.index)
        key = slice_audio_key(video_id, slice_id)
        # The audio first: whoever hears of the slice finds it.
        await self._objects.put_file(key, cut.path)
        if not await self._videos.add_slice(video_id, slice_id, start_time=cut.start, end_time=cut.end):
            try:
                await self._ensure_there(video_id)
            except _Gone:
                await self._objects.delete(key)
                raise
            return
        measures.SLICE_SECONDS.observe(cut.end - cut.start)
        measures.SPEECH_SECONDS.inc(cut.speech_seconds)
        log.info("slice_cut", video_id=video_id, slice_id=slice_id, start=cut.start, end=cut.end)

    async def _ensure_there(self, video_id: str) -> None:
        try:
            video = await self._videos.get(video_id)
        except VideoNotFound:
            raise _Gone from None
        if video.status is VideoStatus.DELETING:
            raise _Gone


class RecognizerHandler:
    """Handles slice.cut: transcribes the slice and stores its transcript, then says so."""

    def __init__(self, *, videos: VideoStore, objects: ObjectStore, pool: WorkerPool, max_attempts: int) -> None:
        self._videos = videos
        self._objects = objects
        self._pool = pool
        self._max_attempts = max_attempts

    async def __call__(self, event: Event) -> Outcome:
        """Transcribes the slice of the event."""
        assert isinstance(event.message, pb.SliceCut)
        video_id, slice_id = event.message.video_id, event.message.slice_id
        # The worker first: an attempt is counted when it begins, not while it waits for a model to load.
        async with self._pool.lease(wait=True) as lease:
            video = await self._waiting(video_id, slice_id)
            part = video.slice(slice_id) if video else None
            if video is None or part is None:
                return Done()
            attempts = await self._videos.count_attempt(video_id, slice_id)
            if attempts is None:
                return Done()
            if attempts > self._max_attempts:
                message = f"The slice could not be transcribed in {self._max_attempts} attempts."
                measures.FAILURES.labels("recognizer", "ATTEMPTS_EXHAUSTED").inc()
                return Reject("ATTEMPTS_EXHAUSTED", message)
            try:
                async with self._objects.local_copy(slice_audio_key(video_id, slice_id)) as audio:
                    told = Instructions(options=video.speech, hint=video.metadata.language or "")
                    recognition = await recognize(lease, audio, part.end_time - part.start_time, told)
            except ObjectNotFound:
                if await self._waiting(video_id, slice_id) is None:
                    return Done()
                return Reject("SLICE_AUDIO_MISSING", "The audio of the slice is no longer in the store.")
            except RecognizerFailed as error:
                measures.FAILURES.labels("recognizer", error.reason).inc()
                log.warning(
                    "slice_failed", video_id=video_id, slice_id=slice_id, error=error.message, attempts=attempts
                )
                if attempts >= self._max_attempts:
                    return Reject(error.reason, f"{error.message}; it was tried {attempts} times")
                return Retry(error.reason, error.message)
            model = lease.name
        transcript = SliceTranscript(
            video_id=video_id,
            slice_id=slice_id,
            start=part.start_time,
            end=part.end_time,
            language=recognition.language,
            language_probability=recognition.language_probability,
            asr_model=model,
            segments=recognition.shifted(part.start_time, end=part.end_time),
        )
        await self._keep(transcript, recognition.spoken)
        return Done()

    async def _keep(self, transcript: SliceTranscript, spoken: Mapping[str, float]) -> None:
        video_id, slice_id = transcript.video_id, transcript.slice_id
        key = transcript_key(video_id, slice_id)
        await self._objects.put(key, transcript.to_bytes())
        moved = await self._videos.slice_transcribed(
            video_id, slice_id, language=transcript.language, asr_model=transcript.asr_model, spoken=spoken
        )
        suspect = sum(bool(segment.suspect) for segment in transcript.segments)
        measures.SEGMENTS.inc(len(transcript.segments))
        measures.SUSPECT_SEGMENTS.inc(suspect)
        if not moved and await self._gone(video_id):
            await self._objects.delete(key)
            log.info("video_gone", video_id=video_id, slice_id=slice_id)
            return
        log.info(
            "slice_transcribed",
            video_id=video_id,
            slice_id=slice_id,
            segments=len(transcript.segments),
            suspect=suspect,
        )

    async def _waiting(self, video_id: str, slice_id: str) -> Video | None:
        """Gives the video if its slice still waits to be transcribed."""
        with contextlib.suppress(VideoNotFound):
            video = await self._videos.get(video_id)
            part = video.slice(slice_id)
            if video.status is not VideoStatus.DELETING and part is not None and part.state is SliceState.CUT:
                return video
        return None

    async def _gone(self, video_id: str) -> bool:
        try:
            return (await self._videos.get(video_id)).status is VideoStatus.DELETING
        except VideoNotFound:
            return True
