"""New videos: bytes that stream through into the object store, or a URL that is fetched later."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import posixpath
import re
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from prometheus_client import Counter

from services.common.errors import EarmarkError, InvalidArgument, MediaTooLarge, Overloaded, VideoNotFound
from services.common.executor import BoundedExecutor
from services.common.ids import new_video_id
from services.common.objects import media_key, video_prefix
from services.common.speech import SpeechOptions
from services.common.videos.model import Source, Video, VideoStatus
from services.gateway import transcript_form
from services.gateway.attributes import checked_collection, checked_tags, checked_title, title_from
from services.gateway.digests import Expected
from services.gateway.idempotency import Idempotency, fingerprint
from services.gateway.imports import ASR_MODEL, written
from services.gateway.streams import ReadAhead, bounded
from services.gateway.tidying import tidying

MAX_FILENAME_CHARS = 255
MAX_CAPTIONS_BYTES = 8 * 2**20
STORED = Counter("earmark_gateway_upload_bytes_total", "Bytes of media stored by uploads.")
_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")


class MediaStore(Protocol):
    """Where media is kept."""

    async def put(self, key: str, data: bytes | AsyncIterable[bytes]) -> int:
        """Writes an object and gives its size in bytes; if `data` raises, nothing is left behind."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Removes all objects under `prefix`."""
        ...


class VideoCreator(Protocol):
    """Where videos begin."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...

    async def create_unless_there(
        self,
        video_id: str,
        *,
        title: str,
        source: Source,
        collection: str = "",
        tags: Sequence[str] = (),
        speech: SpeechOptions | None = None,
    ) -> Video:
        """Creates a video whose media is stored, or gives one of the collection that has the same bytes."""
        ...

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
        """Creates a video whose media is stored (`source`) or to be fetched (`url`)."""
        ...

    async def create_imported(
        self,
        video_id: str,
        *,
        title: str,
        slices: Sequence[tuple[str, float, float]],
        duration: float,
        asr_model: str,
        language: str | None = None,
        speaker_count: int | None = None,
        collection: str = "",
        tags: Sequence[str] = (),
        source: Source | None = None,
    ) -> Video | None:
        """Creates a video whose slices' transcripts are stored."""
        ...


@dataclass(slots=True)
class Details:
    """What the uploader says of the media; none of it is trusted."""

    title: str = ""
    filename: str = ""
    content_type: str = ""
    collection: str = ""
    tags: Sequence[str] = ()
    speech: SpeechOptions | None = None
    captions: bytes = b""
    """A transcript that exists already; then nothing is heard."""
    sha256: str = ""
    """What the bytes must have, as lower-case hex; empty for anything."""
    duplicate: bool = False
    """Whether it becomes a video of its own also where one has the same bytes."""

    def check(self) -> None:
        """Refuses what is wrong before a byte is read. Raises InvalidArgument."""
        checked_title(self.title)
        checked_collection(self.collection)
        checked_tags(self.tags)
        check_captions_size(len(self.captions))


@dataclass(frozen=True, slots=True)
class Taken:
    """What an upload came to."""

    video: Video
    existing: bool
    """Whether it was there before, and the bytes were known."""


class Leftovers(Protocol):
    """Remembers uploads under way, so that what a killed gateway leaves of one is found."""

    async def begin(self, video_id: str) -> None:
        """Says that bytes of a video are about to be stored."""
        ...

    async def done(self, video_id: str) -> None:
        """Says that nothing is left to look after."""
        ...


class Uploads:
    """Creates videos.

    Args:
        media: Where the bytes go.
        videos: Where the video is created once its bytes are stored.
        check_url: Gives a URL in the form to keep; raises when it may not be fetched.
        max_bytes: Size limit of one upload.
        concurrency: Uploads under way at once; one more is refused.
        idle_seconds: Time without a byte after which an upload is given up.
        slice_seconds: Length of a slice aimed at, where an upload brings its captions.
        max_segments: Limit of those captions.
        before: Called with the bytes announced, 0 where nobody has; raises where the caller may not upload as much.
        idempotency: Does once what is sent twice under one key.
        leftovers: Told of each upload, where somebody sweeps.
    """

    def __init__(
        self,
        *,
        media: MediaStore,
        videos: VideoCreator,
        check_url: Callable[[str], Awaitable[str]],
        max_bytes: int,
        concurrency: int,
        idle_seconds: float,
        slice_seconds: float = 300,
        max_segments: int = 100_000,
        before: Callable[[int], Awaitable[None]] | None = None,
        idempotency: Idempotency | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self._before = before
        self._idempotency = idempotency
        self._leftovers = leftovers
        self._media = media
        self._videos = videos
        self._check_url = check_url
        self._max_bytes = max_bytes
        self._concurrency = concurrency
        self._idle_seconds = idle_seconds
        self._slice_seconds = slice_seconds
        self._max_segments = max_segments
        self._running = 0
        # Every upload hashes one block at a time, so the queue cannot overflow.
        self._hashing = BoundedExecutor("upload-hash", threads=2, queue=concurrency)

    def close(self) -> None:
        """Ends the hashing threads."""
        self._hashing.close()

    def check_size(self, announced: int) -> None:
        """Refuses a body by its announced size, before a byte of it is read.

        Raises:
            MediaTooLarge: It cannot fit.
        """
        if announced > self._max_bytes:
            raise self.too_large()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes one of the places for uploads under way. Raises Overloaded when there is none."""
        if self._running >= self._concurrency:
            raise Overloaded(f"{self._running} uploads are under way; try again shortly", retry_after_seconds=5)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def look(self, announced: int) -> None:
        """Refuses who may not upload so many bytes. Raises QuotaExceeded."""
        if self._before is not None:
            await self._before(max(announced, 0))

    async def hashed(self, digest: hashlib._Hash, block: bytes) -> None:
        """Adds a block to a checksum, in a thread."""
        await self._hashing.run(digest.update, block)

    async def from_stream(
        self,
        blocks: AsyncIterable[bytes],
        details: Callable[[], Details],
        *,
        announced: int = 0,
        key: str = "",
        check: Callable[[], None] = lambda: None,
    ) -> Taken:
        """Stores media as it arrives and creates its video. However it fails, nothing is left behind.

        Args:
            blocks: The bytes, in blocks of any size.
            details: Asked once all bytes are there, since a title may come behind them.
            announced: Bytes that are to come, where that is known.
            key: Idempotency-Key it came with; empty for none.
            check: Called once all bytes are there; raises where they are not what the client has.

        Raises:
            InvalidArgument: There is not one byte, or title, collection or tags are wrong.
            ChecksumMismatch: What came is not what was sent.
            KeyReused: Something else came with this key before.
            MediaTooLarge: There are more than allowed.
            Overloaded: Too many uploads are under way.
            QuotaExceeded: The caller has uploaded too much.
            DeadlineExceeded: The bytes stopped coming.
        """
        with self.place():
            await self.look(announced)
            return await self._store(blocks, details, key, check)

    async def _store(
        self, blocks: AsyncIterable[bytes], details: Callable[[], Details], key: str, check: Callable[[], None]
    ) -> Taken:
        video_id = new_video_id()
        digest = hashlib.sha256()
        if self._leftovers is not None:
            await self._leftovers.begin(video_id)
        stays = False
        try:
            limited = bounded(
                blocks, idle_seconds=self._idle_seconds, max_bytes=self._max_bytes, too_large=self.too_large
            )
            size = await self._media.put(media_key(video_id), self._hashed(limited, digest))
            if size == 0:
                raise InvalidArgument(
                    "the file is empty; choose one with media in it", reason="MEDIA_EMPTY", field="file"
                )
            STORED.inc(size)
            check()
            given = details()
            # Should this fail otherwise than by a refusal, nobody knows whether the document is there.
            stays = self._leftovers is not None
            taken = await self.admit(video_id, size, digest.hexdigest(), given, key=key)
        except BaseException as error:
            # Also when the caller went away: its cancellation must not keep half a video.
            if not stays or isinstance(error, EarmarkError):
                await asyncio.shield(self._tidy(video_id, kept=False))
            raise
        await asyncio.shield(self._tidy(video_id, kept=taken.video.video_id == video_id))
        return taken

    async def admit(self, video_id: str, size: int, sha256: str, given: Details, *, key: str = "") -> Taken:
        """Creates the video of media that is stored, or gives the one that has the same bytes.

        Args:
            video_id: What it is to be called, and what the media is stored under.
            size: Bytes of the media.
            sha256: Of the media, lower-case hex.
            given: What was said of it.
            key: Idempotency-Key it came with; empty for none.

        Raises:
            ChecksumMismatch: The media is not what `given` says.
            InvalidArgument: Something that was said is wrong.
            QuotaExceeded: The caller has uploaded too much.
        """
        if given.sha256:
            Expected("sha256", bytes.fromhex(given.sha256)).check(bytes.fromhex(sha256), "the file")
        filename = clean_filename(given.filename)
        source = Source(filename, clean_content_type(given.content_type, filename), size, sha256)
        title = checked_title(given.title) or title_from(posixpath.splitext(filename)[0]) or video_id
        said = (sha256, size, filename, title if given.title else "", given.collection, tuple(given.tags), given.speech)

        async def make() -> Taken:
            return await self._create(video_id, title, source, given)

        if self._idempotency is None or not key:
            return await make()
        return await self._idempotency.once(
            key,
            fingerprint("upload", *said, given.captions, given.duplicate),
            new=video_id,
            make=make,
            find=self.kept,
            name_of=lambda taken: taken.video.video_id,
        )

    async def found(self, video_id: str) -> Taken | None:
        """Gives what an upload came to before; None where there is no such video for the caller."""
        try:
            return Taken(await self._videos.get(video_id), existing=True)
        except VideoNotFound:
            return None

    async def kept(self, video_id: str) -> Taken | None:
        """Gives what an upload came to before, where nobody has deleted it; None otherwise."""
        there = await self.found(video_id)
        return there if there is not None and there.video.status is not VideoStatus.DELETING else None

    async def _create(self, video_id: str, title: str, source: Source, given: Details) -> Taken:
        if given.captions:
            return Taken(await self._with_captions(video_id, title, source, given), existing=False)
        told: Mapping[str, Any] = {
            "title": title,
            "source": source,
            "collection": checked_collection(given.collection),
            "tags": checked_tags(given.tags),
            "speech": given.speech,
        }
        if given.duplicate:
            return Taken(await self._videos.create(video_id, **told), existing=False)
        video = await self._videos.create_unless_there(video_id, **told)
        return Taken(video, existing=video.video_id != video_id)

    async def _with_captions(self, video_id: str, title: str, source: Source, given: Details) -> Video:
        try:
            read = await self._hashing.run(
                transcript_form.read, given.captions, form_of(given.captions), max_segments=self._max_segments
            )
        except InvalidArgument as error:
            if error.field in {"body", "language"}:  # of the captions, not of the upload
                error.field = "captions"
            raise
        duration = max(segment.end for segment in read.segments)
        language = read.language or (given.speech.language if given.speech else "")
        slices, objects = await self._hashing.run(
            written,
            video_id,
            read.segments,
            language=language,
            duration=duration,
            slice_seconds=self._slice_seconds,
        )
        for key, data in objects:
            await self._media.put(key, data)
        video = await self._videos.create_imported(
            video_id,
            title=title,
            slices=slices,
            duration=duration,
            asr_model=ASR_MODEL,
            language=language or None,
            speaker_count=len({segment.speaker for segment in read.segments if segment.speaker}) or None,
            collection=checked_collection(given.collection),
            tags=checked_tags(given.tags),
            source=source,
        )
        assert video is not None, "it has no external id, of which there could be another"
        return video

    async def _tidy(self, video_id: str, *, kept: bool) -> None:
        with tidying(video_id):
            if not kept:
                await self._media.delete_prefix(video_prefix(video_id))
            if self._leftovers is not None:
                await self._leftovers.done(video_id)

    async def from_url(
        self,
        url: str,
        *,
        title: str = "",
        collection: str = "",
        tags: Sequence[str] = (),
        speech: SpeechOptions | None = None,
        key: str = "",
    ) -> Taken:
        """Creates a video whose media is fetched from `url` later; one that was sent before, where `key` says so.

        Raises:
            InvalidArgument: It is no http(s) or s3 URL, or title, collection or tags are wrong.
            KeyReused: Something else came with this key before.
            AddressRefused: It points where the mesh may not fetch from.
        """
        given, collection, tags = checked_title(title), checked_collection(collection), checked_tags(tags)
        url = await self._check_url(url)
        parts = urlsplit(url)
        name = clean_filename(unquote(parts.path))
        chosen = given or title_from(posixpath.splitext(name)[0]) or title_from(parts.hostname or "")
        video_id = new_video_id()

        async def make() -> Taken:
            video = await self._videos.create(
                video_id, title=chosen or "untitled", url=url, collection=collection, tags=tags, speech=speech
            )
            return Taken(video, existing=False)

        if self._idempotency is None or not key:
            return await make()
        return await self._idempotency.once(
            key,
            fingerprint("url", url, given, collection, tuple(tags), speech),
            new=video_id,
            make=make,
            find=self.kept,
            name_of=lambda taken: taken.video.video_id,
        )

    async def _hashed(self, blocks: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncIterator[bytes]:
        """Reads ahead of the writer, and hashes each block while it is written."""
        ahead = ReadAhead(blocks)
        try:
            while (block := await ahead.next()) is not None:
                hashed = asyncio.ensure_future(self.hashed(digest, block))
                try:
                    yield block
                finally:
                    await hashed
        finally:
            await ahead.close()

    def too_large(self) -> MediaTooLarge:
        """Says that an upload is over the size limit."""
        return MediaTooLarge(
            f"the file is over the limit of {self._max_bytes} bytes; upload a smaller one, or a part of it",
            field="file",
            metadata={"max_bytes": str(self._max_bytes)},
        )


def check_captions_size(size: int) -> None:
    """Refuses captions of over 8 MiB; `size` is in bytes. Raises InvalidArgument."""
    if size > MAX_CAPTIONS_BYTES:
        raise InvalidArgument(
            f"captions are over {MAX_CAPTIONS_BYTES} bytes; put them as a transcript behind the upload",
            field="captions",
        )


def form_of(captions: bytes) -> str:
    """Says what captions are by how they begin: vtt, json, or else srt."""
    head = captions[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    # A list is not taken, but whoever sends one is to be told what JSON needs, not what SubRip does.
    return "vtt" if head.startswith(b"WEBVTT") else "json" if head.startswith((b"{", b"[")) else "srt"


def clean_filename(text: str) -> str:
    """Makes a plain file name of what an uploader sent: no folders, no control characters, at most 255 characters."""
    name = _printable(text.replace("\\", "/").rsplit("/", 1)[-1])
    if len(name) > MAX_FILENAME_CHARS:
        stem, ending = posixpath.splitext(name)
        name = stem[: MAX_FILENAME_CHARS - len(ending)] + ending if len(ending) < 20 else name[:MAX_FILENAME_CHARS]
    return "" if name in {".", ".."} else name


def _printable(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}).strip()


def clean_content_type(given: str, filename: str) -> str:
    """Gives the MIME type without parameters; guessed from the file name when it says nothing."""
    kind = given.split(";", 1)[0].strip().lower()
    if not _CONTENT_TYPE.fullmatch(kind) or kind == "application/octet-stream":
        kind = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return kind
