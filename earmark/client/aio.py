"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import IO, Self, TypeVar, Unpack

import httpx

from earmark.client import calls, resumable
from earmark.client.errors import EarmarkClientError, Unavailable, from_response, from_transport
from earmark.client.index import AsyncIndex
from earmark.client.keys import AsyncKeys
from earmark.client.multipart import FileUpload, Progress
from earmark.client.results import EditedSegment, Imported, SearchResult, Transcript, TranscriptLine, Video, VideoStatus
from earmark.client.resumable import Transfer
from earmark.client.sse import EventReader
from earmark.client.watching import Watch

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited. Use it in an `async with`, or `await close()`.

    Args:
        base_url: URL of the gateway, e.g. `http://127.0.0.1:8080`.
        key: an API key, where the gateway takes keys; that of EARMARK_API_KEY when None, and none when empty.
        timeout: of one request; the default allows 5 s to connect and 60 s to be answered.
        headers: sent with every request.
        transport: what carries the requests, for a proxy, a Unix socket or a test.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        timeout: httpx.Timeout | float = calls.TIMEOUT,
        headers: dict[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {**calls.authorization(key), **(headers or {})}
        self._http = httpx.AsyncClient(base_url=self.base_url, timeout=timeout, headers=headers, transport=transport)

    async def __aenter__(self) -> Self:
        """Gives the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connections."""
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def upload(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        *,
        title: str = "",
        filename: str = "",
        collection: str = "",
        tags: Iterable[str] = (),
        captions: str | bytes | None = None,
        duplicate: bool = False,
        progress: Progress | None = None,
        patience: float = 60.0,
        resume: str | None = None,
        on_begun: Callable[[str], None] | None = None,
        **speech: Unpack[calls.SpeechOptions],
    ) -> Video:
        """Uploads a video or audio file, streamed; see `Client.upload`."""
        fields = calls.upload_fields(
            title=title,
            collection=collection,
            tags=tags,
            captions=captions,
            duplicate=duplicate,
            speech=speech,
        )
        opened, filename = resumable.opened(file, filename)
        try:
            if (said := resumable.said_of(fields)) is not None:
                transfer = Transfer(
                    opened, filename=filename, said=said, progress=progress, patience=patience, location=resume
                )
                if transfer.size >= resumable.LEAST_BYTES:
                    return await self._transfer(transfer, on_begun)
            body = FileUpload(opened, filename=filename, fields=fields, progress=progress)
            response = await self._http.post(calls.UPLOAD_PATH, content=aiter(body), headers=body.headers)
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        finally:
            opened.close()
        return calls.upload_answer(response, self.base_url)

    async def _transfer(self, transfer: Transfer, on_begun: Callable[[str], None] | None) -> Video:
        """Sends a file in as many requests as it takes."""
        while not transfer.done:
            try:
                await self._go_on(transfer, on_begun)
            except httpx.TransportError as error:
                delay = transfer.delay(from_transport(error, self.base_url))
            except EarmarkClientError as error:
                delay = transfer.delay(error)
            else:
                continue
            await asyncio.sleep(delay)
        video = await self._send(calls.get(transfer.video_id or ""))
        return replace(video, existing=transfer.existing)

    async def _go_on(self, transfer: Transfer, on_begun: Callable[[str], None] | None) -> None:
        if transfer.location is None:
            transfer.begun(await self._http.post(resumable.FILES_PATH, headers=transfer.creation))
            if on_begun is not None and transfer.location is not None:
                on_begun(transfer.location)
        else:
            transfer.looked(await self._http.head(transfer.location, headers=transfer.look))
        if transfer.location is None or transfer.done:
            return
        transfer.seek()
        body = self._blocks(transfer)
        transfer.took(await self._http.patch(transfer.location, content=body, headers=transfer.appending))

    async def _blocks(self, transfer: Transfer) -> AsyncIterator[bytes]:
        sent = 0
        while block := await asyncio.to_thread(transfer.block, sent):
            sent += len(block)
            yield block

    async def create_from_url(
        self,
        url: str,
        *,
        title: str = "",
        collection: str = "",
        tags: Iterable[str] = (),
        **speech: Unpack[calls.SpeechOptions],
    ) -> Video:
        """Has the gateway fetch a video from an http(s) or s3 URL; `speech` as for `upload`."""
        return await self._send(
            calls.create_from_url(url, title=title, collection=collection, tags=tags, speech=speech)
        )

    async def import_transcript(
        self,
        title: str,
        lines: Iterable[TranscriptLine],
        *,
        url: str = "",
        language: str = "",
        duration: float | None = None,
        collection: str = "",
        tags: Iterable[str] = (),
        external_id: str = "",
    ) -> Imported:
        """Makes a video of a transcript that exists already; see `Client.import_transcript`."""
        return await self._send(
            calls.import_transcript(
                title,
                lines,
                url=url,
                language=language,
                duration=duration,
                collection=collection,
                tags=tags,
                external_id=external_id,
            )
        )

    async def update_video(
        self,
        video_id: str,
        *,
        title: str | None = None,
        collection: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> Video:
        """Changes what is given; an empty collection takes the video out of its own, tags replace all it had."""
        return await self._send(calls.update_video(video_id, title=title, collection=collection, tags=tags))

    async def get(self, video_id: str) -> Video:
        """One video."""
        return await self._send(calls.get(video_id))

    async def list(self, *, status: str | None = None, page_size: int = 50) -> AsyncIterator[Video]:
        """All videos, newest first, fetched page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page = await self._send(calls.page(limit=page_size, cursor=cursor, status=status))
            for video in page.videos:
                yield video
            cursor = page.next_cursor
            if cursor is None:
                return

    async def status(self, video_id: str) -> VideoStatus:
        """How far a video is, with its slices."""
        return await self._send(calls.status(video_id))

    async def watch(self, video_id: str, *, patience: float = 60.0) -> AsyncIterator[VideoStatus]:
        """The status now and at every change, until the video is ready, failed or deleted.

        A connection that breaks is made again; `patience` is for how many seconds.
        """
        watch = Watch(patience)
        while True:
            problem: EarmarkClientError | None = None
            try:
                reader = EventReader()
                async with self._http.stream("GET", calls.events_path(video_id), timeout=calls.TIMEOUT) as response:
                    if not response.is_success:
                        await response.aread()
                        raise from_response(response)
                    async for line in response.aiter_lines():
                        event = reader.feed(line)
                        if event is None:
                            continue
                        if event.event == "end":
                            return
                        if event.event == "status":
                            status = calls.status_event(event.data, self.base_url)
                            if watch.news(status):
                                yield status
            except httpx.TransportError as error:
                problem = from_transport(error, self.base_url)
            except EarmarkClientError as error:
                problem = error
            if watch.over:
                return
            delay = watch.delay(problem)
            if delay is None:
                return
            await asyncio.sleep(delay)

    async def delete(self, video_id: str, *, now: bool = False) -> Video:
        """Removes a video: at once from search, soon from every store."""
        return await self._send(calls.delete(video_id, now=now))

    async def restore(self, video_id: str) -> Video:
        """Brings a deleted video back; see `Client.restore`."""
        return await self._send(calls.restore(video_id))

    async def retry(self, video_id: str) -> Video:
        """Does again what failed of a video, and only that."""
        return await self._send(calls.retry(video_id))

    async def transcript(
        self, video_id: str, *, original: bool = False, suspect: calls.SuspectSegments | None = None
    ) -> Transcript:
        """What was said, with times of segments and words; see `Client.transcript`."""
        return await self._send(calls.transcript(video_id, original=original, suspect=suspect))

    async def captions(
        self,
        video_id: str,
        caption_format: calls.CaptionFormat = "vtt",
        *,
        words: bool = False,
        original: bool = False,
        suspect: calls.SuspectSegments | None = None,
    ) -> str:
        """The transcript as captions, or as text; see `Client.captions`."""
        return await self._send(
            calls.captions(video_id, caption_format, words=words, original=original, suspect=suspect)
        )

    async def put_transcript(
        self,
        video_id: str,
        content: str | bytes,
        form: calls.TranscriptFormat = "vtt",
        *,
        revision: int | None = None,
    ) -> Video:
        """Puts a transcript in place of the one there is; see `Client.put_transcript`."""
        return await self._send(calls.put_transcript(video_id, content, form, revision=revision))

    async def edit_segment(
        self,
        video_id: str,
        segment_id: str,
        *,
        revision: int | None = None,
        **changes: Unpack[calls.SegmentChanges],
    ) -> EditedSegment:
        """Corrects a segment of a transcript; see `Client.edit_segment`."""
        return await self._send(calls.edit_segment(video_id, segment_id, changes, revision=revision))

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        cursor: str | None = None,
        mode: calls.SearchMode = "hybrid",
        **filters: Unpack[calls.SearchFilters],
    ) -> SearchResult:
        """Finds where something is said; see `Client.search`."""
        return await self._send(calls.search(query, limit=limit, cursor=cursor, mode=mode, filters=filters))

    @property
    def index(self) -> AsyncIndex:
        """The shards of the index, for operators."""
        return AsyncIndex(self._send)

    @property
    def keys(self) -> AsyncKeys:
        """API keys, for administrators."""
        return AsyncKeys(self._send)

    async def is_ready(self) -> bool:
        """Whether the mesh can serve; False also when the gateway says that it cannot.

        Raises:
            ConnectionFailed: nothing answers.
        """
        try:
            return await self._send(calls.is_ready())
        except Unavailable:
            return False

    async def _send(self, call: calls.Call[T]) -> T:
        try:
            response = await self._http.request(
                call.method, call.path, params=call.params, json=call.body, content=call.content, headers=call.headers
            )
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        return call.finish(response, self.base_url)
