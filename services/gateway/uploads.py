"""New videos: bytes that stream through into the object store, or a URL that is fetched later."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import posixpath
import re
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from prometheus_client import Counter

from services.common.errors import DeadlineExceeded, InvalidArgument, MediaTooLarge, Overloaded
from services.common.executor import BoundedExecutor
from services.common.ids import new_video_id
from services.common.objects import media_key, video_prefix
from services.common.speech import SpeechOptions
from services.common.videos.model import Source, Video
from services.gateway import transcript_form
from services.gateway.attributes import checked_collection, checked_tags, checked_title, title_from
from services.gateway.imports import ASR_MODEL, written
from services.gateway.tidying import tidying

MAX_FILENAME_CHARS = 255
MAX_CAPTIONS_BYTES = 8 * 2**20
BLOCK_BYTES = 1024 * 1024
"""Size of the blocks that are hashed and written: large enough that switching threads costs nothing."""
_READ_AHEAD_BLOCKS = 4
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

    def check(self) -> None:
        """Refuses what is wrong before a byte is read. Raises InvalidArgument."""
        checked_title(self.title)
        checked_collection(self.collection)
        checked_tags(self.tags)
        check_captions_size(len(self.captions))


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
    ) -> None:
        self._before = before
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
            raise self._too_large()

    async def from_stream(
        self, blocks: AsyncIterable[bytes], details: Callable[[], Details], *, announced: int = 0
    ) -> Video:
        """Stores media as it arrives and creates its video. However it fails, nothing is left behind.

        Args:
            blocks: The bytes, in blocks of any size.
            details: Asked once all bytes are there, since a title may come behind them.
            announced: Bytes that are to come, where that is known.

        Raises:
            InvalidArgument: There is not one byte, or title, collection or tags are wrong.
            MediaTooLarge: There are more than allowed.
            Overloaded: Too many uploads are under way.
            QuotaExceeded: The caller has uploaded too much.
            DeadlineExceeded: The bytes stopped coming.
        """
        if self._running >= self._concurrency:
            raise Overloaded(f"{self._running} uploads are under way; try again shortly", retry_after_seconds=5)
        self._running += 1
        try:
            if self._before is not None:
                await self._before(max(announced, 0))
            return await self._store(blocks, details)
        finally:
            self._running -= 1

    async def _store(self, blocks: AsyncIterable[bytes], details: Callable[[], Details]) -> Video:
        video_id = new_video_id()
        digest = hashlib.sha256()
        try:
            size = await self._media.put(media_key(video_id), self._hashed(self._bounded(blocks), digest))
            if size == 0:
                raise InvalidArgument(
                    "the file is empty; choose one with media in it", reason="MEDIA_EMPTY", field="file"
                )
            STORED.inc(size)
            given = details()
            filename = clean_filename(given.filename)
            source = Source(filename, clean_content_type(given.content_type, filename), size, digest.hexdigest())
            title = checked_title(given.title) or title_from(posixpath.splitext(filename)[0]) or video_id
            if given.captions:
                return await self._with_captions(video_id, title, source, given)
            return await self._videos.create(
                video_id,
                title=title,
                source=source,
                collection=checked_collection(given.collection),
                tags=checked_tags(given.tags),
                speech=given.speech,
            )
        except BaseException:
            # Also when the caller went away: its cancellation must not keep half a video.
            await asyncio.shield(self._remove(video_id))
            raise

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

    async def _remove(self, video_id: str) -> None:
        with tidying(video_id):
            await self._media.delete_prefix(video_prefix(video_id))

    async def from_url(
        self,
        url: str,
        *,
        title: str = "",
        collection: str = "",
        tags: Sequence[str] = (),
        speech: SpeechOptions | None = None,
    ) -> Video:
        """Creates a video whose media is fetched from `url` later.

        Raises:
            InvalidArgument: It is no http(s) or s3 URL, or title, collection or tags are wrong.
            AddressRefused: It points where the mesh may not fetch from.
        """
        given, collection, tags = checked_title(title), checked_collection(collection), checked_tags(tags)
        url = await self._check_url(url)
        parts = urlsplit(url)
        name = clean_filename(unquote(parts.path))
        chosen = given or title_from(posixpath.splitext(name)[0]) or title_from(parts.hostname or "")
        return await self._videos.create(
            new_video_id(), title=chosen or "untitled", url=url, collection=collection, tags=tags, speech=speech
        )

    async def _bounded(self, blocks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Holds the size limit, gives up on silence, and makes blocks of a good size."""
        total = 0
        waiting = bytearray()
        source = aiter(blocks)
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    block = await anext(source, None)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no byte came for {self._idle_seconds:g} s; upload again", reason="UPLOAD_STALLED"
                ) from None
            if block is None:
                break
            total += len(block)
            if total > self._max_bytes:
                raise self._too_large()
            waiting += block
            if len(waiting) >= BLOCK_BYTES:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)

    async def _hashed(self, blocks: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncIterator[bytes]:
        """Reads ahead of the writer, and hashes each block while it is written."""
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_READ_AHEAD_BLOCKS)

        async def read() -> None:
            try:
                async for block in blocks:
                    await queue.put(block)
                await queue.put(None)
            except Exception as error:  # noqa: BLE001  (handed to the writer, which raises it)
                await queue.put(error)

        reader = asyncio.create_task(read(), name="upload-read")
        try:
            while (block := await queue.get()) is not None:
                if isinstance(block, Exception):
                    raise block
                hashed = asyncio.ensure_future(self._hashing.run(digest.update, block))
                try:
                    yield block
                finally:
                    await hashed
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _too_large(self) -> MediaTooLarge:
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
