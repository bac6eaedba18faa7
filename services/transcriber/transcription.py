"""Transcribes on request: one slice, or a whole media object slice by slice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import perf_counter

from ulid import ULID

from services.common.errors import InvalidArgument, MediaUnreadable
from services.common.objects import ObjectStore
from services.common.speech import SpeechOptions
from services.common.transcript import Segment
from services.transcriber import measures
from services.transcriber.fetcher import Fetcher
from services.transcriber.problems import MediaProblem
from services.transcriber.recognizer import Instructions, Recognition
from services.transcriber.slicer import Slicer
from services.transcriber.worker_pool import Lease, WorkerPool


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A part of what was asked for. `language` is ISO 639-1."""

    segments: list[Segment]
    language: str
    asr_model: str


class Transcription:
    """Transcribes without leaving anything behind.

    Args:
        objects: Where slices and media are.
        slicer: Cuts media.
        fetcher: Gets media by URL.
        pool: Recognizes.
    """

    def __init__(self, *, objects: ObjectStore, slicer: Slicer, fetcher: Fetcher, pool: WorkerPool) -> None:
        self._objects = objects
        self._slicer = slicer
        self._fetcher = fetcher
        self._pool = pool

    async def of_slice(self, key: str, *, language: str | None) -> AsyncGenerator[Transcribed, None]:
        """Gives the transcript of a slice, in times of the slice.

        Raises:
            NotFound: There is no such object.
            Overloaded: Every worker is busy.
        """
        async with self._pool.lease(wait=False) as lease, self._objects.local_copy(checked_key(key)) as path:
            seconds = path.stat().st_size / 4000  # an upper bound: FLAC of speech is well over 4 kB a second
            recognition = await recognize(lease, path, seconds, _instructions(language))
            yield Transcribed(recognition.segments, recognition.language, lease.name)

    async def of_media(self, uri: str, *, language: str | None) -> AsyncGenerator[Transcribed, None]:
        """Gives the transcript of a media object or URL, slice by slice, in times of the media.

        Raises:
            MediaUnreadable: It cannot be decoded.
            NotFound: There is no such object.
            Overloaded: Every worker is busy.
        """
        hint = ""
        try:
            async with (
                self._media(uri) as path,
                self._slicer.open(path) as slicing,
                aclosing(slicing.slices()) as slices,
            ):
                async for cut in slices:
                    # Refused before it begins, but not half-way.
                    async with self._pool.lease(wait=cut.index > 0) as lease:
                        told = _instructions(language, hint)
                        recognition = await recognize(lease, cut.path, cut.end - cut.start, told)
                    hint = hint or recognition.language
                    yield Transcribed(recognition.shifted(cut.start, end=cut.end), recognition.language, lease.name)
        except MediaProblem as problem:
            raise MediaUnreadable(problem.message, reason=problem.reason, field="media_uri") from problem

    @asynccontextmanager
    async def _media(self, uri: str) -> AsyncIterator[Path]:
        if "://" not in uri:
            async with self._objects.local_copy(checked_key(uri)) as path:
                yield path
            return
        key = f"transcribe/{ULID()}/media"
        try:
            await self._fetcher.fetch(uri, key)
            async with self._objects.local_copy(key) as path:
                yield path
        finally:
            await self._objects.delete(key)


def _instructions(language: str | None, hint: str = "") -> Instructions:
    return Instructions(options=SpeechOptions(language=language or ""), hint=hint)


async def recognize(lease: Lease, audio: Path, seconds: float, instructions: Instructions) -> Recognition:
    """Recognizes with a leased worker, and measures."""
    began = perf_counter()
    recognition = await lease.recognize(audio, seconds, instructions)
    measures.AUDIO_SECONDS.inc(seconds)
    if seconds > 0:
        measures.REAL_TIME_FACTOR.observe((perf_counter() - began) / seconds)
    return recognition


def checked_key(key: str) -> str:
    """Gives a key that leads out of no folder. Raises InvalidArgument."""
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts or "\0" in key or "\\" in key:
        raise InvalidArgument("this is not the key of an object in the store", field="media_uri")
    return key
