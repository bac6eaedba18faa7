"""The client for ordinary (blocking) code."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import IO, Self, TypeVar, Unpack

import httpx

from earmark.client import calls, resumable
from earmark.client.errors import EarmarkClientError, Unavailable, from_response, from_transport
from earmark.client.index import Index
from earmark.client.keys import Keys
from earmark.client.multipart import FileUpload, Progress
from earmark.client.results import EditedSegment, Imported, SearchResult, Transcript, TranscriptLine, Video, VideoStatus
from earmark.client.resumable import Transfer
from earmark.client.sse import EventReader
from earmark.client.watching import Watch

T = TypeVar("T")


class Client:
    """Talks to an Earmark gateway over HTTP. Thread-safe; close it after use, or use it in a `with`.

    Args:
        base_url: URL of the gateway, e.g. `http://127.0.0.1:8080`.
        key: an API key, where the gateway takes keys; that of EARMARK_API_KEY when None, and none when empty.
        timeout: of one request; the default allows 5 s to connect and 60 s to be answered.
        headers: sent with every request.
        transport: what carries the requests, for a proxy, a Unix socket or a test.

    Every method raises `EarmarkClientError`: `ConnectionFailed` when nothing answers, an `ApiError` when the
    gateway refuses.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        timeout: httpx.Timeout | float = calls.TIMEOUT,
        headers: dict[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {**calls.authorization(key), **(headers or {})}
        self._http = httpx.Client(base_url=self.base_url, timeout=timeout, headers=headers, transport=transport)

    def __enter__(self) -> Self:
        """Gives the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def upload(
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
        """Uploads a video or audio file, streamed.

        Args:
            file: a path, or a file opened in binary mode (then closed after the upload).
            title: title to show; the gateway takes the file's name when empty.
            filename: name to give a file object.
            collection: the collection it belongs to.
            tags: its tags.
            captions: a transcript there is already, as the text of WebVTT, SubRip or JSON; then nothing is heard.
            duplicate: whether it becomes a video of its own also where one of the collection has the same bytes;
                otherwise that one is given, and says that it is `existing`.
            progress: called with (bytes sent, bytes in all).
            patience: seconds without any byte getting further after which a broken upload is given up. One of at least
                8 MiB goes on where it broke off, unless it has captions.
            resume: what `on_begun` said of this upload before, perhaps in another process: it goes on. A file of
                another name or size is refused.
            on_begun: told by what an upload can be resumed, once the gateway knows of it.
            **speech: what is known of the speech in it; see `SpeechOptions`.

        Returns:
            The video, which from now on is processed: `watch` it.

        Raises:
            InvalidRequest: the file is empty or too large, or what is said of it is wrong.
            OSError: the file cannot be read.
        """
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
                    return self._transfer(transfer, on_begun)
            body = FileUpload(opened, filename=filename, fields=fields, progress=progress)
            response = self._http.post(calls.UPLOAD_PATH, content=iter(body), headers=body.headers)
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        finally:
            opened.close()
        return calls.upload_answer(response, self.base_url)

    def _transfer(self, transfer: Transfer, on_begun: Callable[[str], None] | None) -> Video:
        """Sends a file in as many requests as it takes."""
        while not transfer.done:
            try:
                self._go_on(transfer, on_begun)
            except httpx.TransportError as error:
                delay = transfer.delay(from_transport(error, self.base_url))
            except EarmarkClientError as error:
                delay = transfer.delay(error)
            else:
                continue
            threading.Event().wait(delay)
        video = self._send(calls.get(transfer.video_id or ""))
        return replace(video, existing=transfer.existing)

    def _go_on(self, transfer: Transfer, on_begun: Callable[[str], None] | None) -> None:
        if transfer.location is None:
            transfer.begun(self._http.post(resumable.FILES_PATH, headers=transfer.creation))
            if on_begun is not None and transfer.location is not None:
                on_begun(transfer.location)
        else:
            transfer.looked(self._http.head(transfer.location, headers=transfer.look))
        if transfer.location is None or transfer.done:
            return
        transfer.seek()
        body = _blocks(transfer)
        transfer.took(self._http.patch(transfer.location, content=body, headers=transfer.appending))

    def create_from_url(
        self,
        url: str,
        *,
        title: str = "",
        collection: str = "",
        tags: Iterable[str] = (),
        **speech: Unpack[calls.SpeechOptions],
    ) -> Video:
        """Has the gateway fetch a video from an http(s) or s3 URL; `speech` as for `upload`."""
        return self._send(calls.create_from_url(url, title=title, collection=collection, tags=tags, speech=speech))

    def import_transcript(
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
        """Makes a video, without media, of a transcript that exists already.

        Args:
            title: title to show.
            lines: what is said, in order of time.
            url: where the video can be seen; it is not fetched.
            language: ISO 639-1.
            duration: seconds; the end of the last line stands in.
            collection: the collection it belongs to.
            tags: its tags.
            external_id: your own name for it, of which there is at most one video: importing again is harmless.

        Raises:
            InvalidRequest: something is wrong; `violations` says which segment.
        """
        return self._send(
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

    def update_video(
        self,
        video_id: str,
        *,
        title: str | None = None,
        collection: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> Video:
        """Changes what is given; an empty collection takes the video out of its own, tags replace all it had."""
        return self._send(calls.update_video(video_id, title=title, collection=collection, tags=tags))

    def get(self, video_id: str) -> Video:
        """One video."""
        return self._send(calls.get(video_id))

    def list(self, *, status: str | None = None, page_size: int = 50) -> Iterator[Video]:
        """All videos, newest first, fetched page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page = self._send(calls.page(limit=page_size, cursor=cursor, status=status))
            yield from page.videos
            cursor = page.next_cursor
            if cursor is None:
                return

    def status(self, video_id: str) -> VideoStatus:
        """How far a video is, with its slices."""
        return self._send(calls.status(video_id))

    def watch(self, video_id: str, *, patience: float = 60.0) -> Iterator[VideoStatus]:
        """The status now and at every change, until the video is ready, failed or deleted.

        A connection that breaks is made again; `patience` is for how many seconds.
        """
        watch = Watch(patience)
        while True:
            problem: EarmarkClientError | None = None
            try:
                reader = EventReader()
                # No read timeout shorter than the gateway's keep-alive of 15 s.
                with self._http.stream("GET", calls.events_path(video_id), timeout=calls.TIMEOUT) as response:
                    if not response.is_success:
                        response.read()
                        raise from_response(response)
                    for line in response.iter_lines():
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
            threading.Event().wait(delay)

    def delete(self, video_id: str, *, now: bool = False) -> Video:
        """Removes a video: at once from search and lists, and from every store when it cannot be restored any more.

        Args:
            video_id: the video.
            now: whether it goes for good at once; otherwise `restorable_until` says how long it can be restored.
        """
        return self._send(calls.delete(video_id, now=now))

    def restore(self, video_id: str) -> Video:
        """Brings a deleted video back.

        Raises:
            NotFound: it is gone.
            Conflict: it is not deleted, or it is too late.
        """
        return self._send(calls.restore(video_id))

    def retry(self, video_id: str) -> Video:
        """Does again what failed of a video, and only that."""
        return self._send(calls.retry(video_id))

    def transcript(
        self, video_id: str, *, original: bool = False, suspect: calls.SuspectSegments | None = None
    ) -> Transcript:
        """What was said, with times of segments and words.

        Args:
            video_id: the video.
            original: whether what was heard is wanted, before anybody edited it.
            suspect: `exclude` leaves out what likely nobody said; otherwise it is there, with the reason.
        """
        return self._send(calls.transcript(video_id, original=original, suspect=suspect))

    def captions(
        self,
        video_id: str,
        caption_format: calls.CaptionFormat = "vtt",
        *,
        words: bool = False,
        original: bool = False,
        suspect: calls.SuspectSegments | None = None,
    ) -> str:
        """The transcript as captions, or as text.

        Args:
            video_id: the video.
            caption_format: `vtt`, `srt` or `txt`.
            words: with `vtt`: whether each word has its time.
            original: whether what was heard is wanted, before anybody edited it.
            suspect: `include` has what likely nobody said in; otherwise it is left out.
        """
        return self._send(calls.captions(video_id, caption_format, words=words, original=original, suspect=suspect))

    def put_transcript(
        self,
        video_id: str,
        content: str | bytes,
        form: calls.TranscriptFormat = "vtt",
        *,
        revision: int | None = None,
    ) -> Video:
        """Puts a transcript in place of the one there is; only what changes is made searchable again.

        Once a `watch` ends with the video ready, its `index_token` stands for the new words.

        Args:
            video_id: the video.
            content: WebVTT, SubRip or JSON as `transcript` gives it.
            form: which of them.
            revision: `Transcript.revision` it was made of; when somebody has edited it since, it is refused.

        Raises:
            InvalidRequest: something in it is wrong.
            Conflict: it was edited since, or the video is not all cut yet.
        """
        return self._send(calls.put_transcript(video_id, content, form, revision=revision))

    def edit_segment(
        self,
        video_id: str,
        segment_id: str,
        *,
        revision: int | None = None,
        **changes: Unpack[calls.SegmentChanges],
    ) -> EditedSegment:
        """Corrects a segment of a transcript; its receipt comes as that of `put_transcript`.

        Args:
            video_id: the video.
            segment_id: `Segment.segment_id`.
            revision: `Transcript.revision` the change is made of; when somebody has edited it since, it is refused.
            **changes: what is to change; see `SegmentChanges`.

        Raises:
            NotFound: there is no such video or segment.
            InvalidRequest: something in the change is wrong.
            Conflict: it was edited since, or that part of the video is not transcribed yet.
        """
        return self._send(calls.edit_segment(video_id, segment_id, changes, revision=revision))

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        cursor: str | None = None,
        mode: calls.SearchMode = "hybrid",
        **filters: Unpack[calls.SearchFilters],
    ) -> SearchResult:
        """Finds where something is said.

        Args:
            query: plain words; words in double quotes are wanted next to each other.
            limit: how many videos at most.
            cursor: `next_cursor` of the page before.
            mode: `hybrid`, `semantic` (by meaning) or `keyword` (by words).
            **filters: what may be found, and what must be in; see `SearchFilters`.
        """
        return self._send(calls.search(query, limit=limit, cursor=cursor, mode=mode, filters=filters))

    @property
    def index(self) -> Index:
        """The shards of the index, for operators."""
        return Index(self._send)

    @property
    def keys(self) -> Keys:
        """API keys, for administrators."""
        return Keys(self._send)

    def is_ready(self) -> bool:
        """Whether the mesh can serve; False also when the gateway says that it cannot.

        Raises:
            ConnectionFailed: nothing answers.
        """
        try:
            return self._send(calls.is_ready())
        except Unavailable:
            return False

    def _send(self, call: calls.Call[T]) -> T:
        try:
            response = self._http.request(
                call.method, call.path, params=call.params, json=call.body, content=call.content, headers=call.headers
            )
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        return call.finish(response, self.base_url)


def _blocks(transfer: Transfer) -> Iterator[bytes]:
    sent = 0
    while block := transfer.block(sent):
        sent += len(block)
        yield block
