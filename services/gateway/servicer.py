"""The public gRPC services, over the same domain code as the HTTP routes."""

# ruff: noqa: N802, ARG002  (names and arguments of the methods are the protocol's)

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.v1 import search_service_pb2 as search_pb
from earmark.v1 import search_service_pb2_grpc as search_grpc
from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as video_grpc
from services.common.errors import InvalidArgument, Unavailable
from services.common.rpc import budget
from services.common.speech import SpeechOptions
from services.gateway import import_form, messages
from services.gateway.access.caller import caller
from services.gateway.attributes import checked_speech
from services.gateway.digests import checked_sha256
from services.gateway.filters import SearchFilter
from services.gateway.idempotency import checked_key
from services.gateway.import_form import Line, NewTranscript
from services.gateway.imports import Imports
from services.gateway.library import Library
from services.gateway.rpc_errors import told, unary
from services.gateway.search import Searches, SearchQuery
from services.gateway.uploads import Details, Taken, Uploads
from services.gateway.watch import Watcher

Context = grpc.aio.ServicerContext[Any, Any]

_CREATE_FIELDS = {
    "captions": "video.captions",
    "sha256": "video.sha256",
    "Idempotency-Key": "video.request_id",
    **{name: f"video.speech.{name}" for name in ("language", "prompt", "hotwords", "task")},
}
_SEARCH_FIELDS = {"collection": "collections", "speaker": "speakers", "tag": "tags", "min_token": "min_tokens"}
_STATUS_OF = {state: status.value for status, state in messages.STATES.items()}


class VideoServicer(video_grpc.VideoServiceServicer):
    """Videos: put in, looked at, taken out."""

    def __init__(self, *, library: Library, uploads: Uploads, imports: Imports, watcher: Watcher) -> None:
        self._library = library
        self._uploads = uploads
        self._imports = imports
        self._watcher = watcher

    @unary
    async def CreateVideo(
        self, request_iterator: AsyncIterator[pb.CreateVideoRequest], context: Context
    ) -> pb.CreateVideoResponse:
        """Creates a video from bytes streamed by the client, or from a URI."""
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "video":
            raise InvalidArgument("the first message must say what the video is", field="video")
        new = first.video
        with told(_CREATE_FIELDS):
            create = self._from_uri if new.uri else self._from_data
            taken = await create(new, request_iterator)
            return pb.CreateVideoResponse(video=messages.video(taken.video), already_there=taken.existing)

    async def _from_uri(self, new: pb.NewVideo, requests: AsyncIterator[pb.CreateVideoRequest]) -> Taken:
        if new.captions:
            raise InvalidArgument("captions go with data; put them as a transcript of the video", field="captions")
        if await anext(aiter(requests), None) is not None:
            raise InvalidArgument("data follows although a URI is given; give one of them", field="data")
        return await self._uploads.from_url(
            new.uri,
            title=new.title,
            collection=new.collection,
            tags=list(new.tags),
            speech=_speech(new.speech),
            key=checked_key(new.request_id),
        )

    async def _from_data(self, new: pb.NewVideo, requests: AsyncIterator[pb.CreateVideoRequest]) -> Taken:
        details = Details(
            title=new.title,
            filename=new.filename,
            content_type=new.content_type,
            collection=new.collection,
            tags=list(new.tags),
            speech=_speech(new.speech, heard=not new.captions),
            captions=new.captions,
            sha256=checked_sha256(new.sha256),
            duplicate=new.allow_duplicate,
        )
        details.check()
        caller().place(new.collection)
        return await self._uploads.from_stream(_data(requests), lambda: details, key=checked_key(new.request_id))

    @unary
    async def GetVideo(self, request: pb.GetVideoRequest, context: Context) -> pb.GetVideoResponse:
        """Gives one video."""
        return pb.GetVideoResponse(video=messages.video(await self._library.get(request.video_id)))

    @unary
    async def ListVideos(self, request: pb.ListVideosRequest, context: Context) -> pb.ListVideosResponse:
        """Lists videos, newest first."""
        if request.state and request.state not in _STATUS_OF:
            raise InvalidArgument(f"there is no state {request.state}", field="state")
        page = await self._library.list(
            limit=request.page_size, cursor=request.page_token, status=_STATUS_OF.get(request.state, "")
        )
        videos = [messages.video(video, slices=False) for video in page.videos]
        return pb.ListVideosResponse(videos=videos, next_page_token=page.next_cursor)

    @unary
    async def ImportVideo(self, request: pb.ImportVideoRequest, context: Context) -> pb.ImportVideoResponse:
        """Creates a video of a transcript."""
        imported = await self._imports.create(functools.partial(_transcript, request, self._imports.max_segments))
        return pb.ImportVideoResponse(video=messages.video(imported.video), already_there=imported.already_there)

    @unary
    async def UpdateVideo(self, request: pb.UpdateVideoRequest, context: Context) -> pb.UpdateVideoResponse:
        """Changes title, collection or tags."""
        named = [name for name in ("title", "collection") if request.HasField(name)]
        fields: dict[str, Any] = {name: getattr(request, name) for name in named}
        if request.HasField("tags"):
            fields["tags"] = list(request.tags.tags)
        return pb.UpdateVideoResponse(video=messages.video(await self._library.describe(request.video_id, **fields)))

    @unary
    async def DeleteVideo(self, request: pb.DeleteVideoRequest, context: Context) -> pb.DeleteVideoResponse:
        """Deletes a video with all that was derived from it."""
        return pb.DeleteVideoResponse(
            video=messages.video(await self._library.delete(request.video_id, now=request.now))
        )

    @unary
    async def RestoreVideo(self, request: pb.RestoreVideoRequest, context: Context) -> pb.RestoreVideoResponse:
        """Brings a deleted video back."""
        return pb.RestoreVideoResponse(video=messages.video(await self._library.restore(request.video_id)))

    @unary
    async def RetryVideo(self, request: pb.RetryVideoRequest, context: Context) -> pb.RetryVideoResponse:
        """Does again what failed of a failed video."""
        return pb.RetryVideoResponse(video=messages.video(await self._library.retry(request.video_id)))

    async def WatchVideo(self, request: pb.WatchVideoRequest, context: Context) -> AsyncIterator[pb.WatchVideoResponse]:
        """Sends the video now and after every change."""
        with told():
            async for video in self._watcher.watch(request.video_id):
                if video is not None:
                    yield pb.WatchVideoResponse(video=messages.video(video))
        if self._watcher.stopped:
            raise Unavailable("the gateway stops; watch again", retry_after_seconds=1)


class SearchServicer(search_grpc.SearchServiceServicer):
    """Finds the moment something was said."""

    def __init__(self, *, searcher: Searches, query_max_chars: int, deadline_seconds: float) -> None:
        self._searcher = searcher
        self._query_max_chars = query_max_chars
        self._deadline_seconds = deadline_seconds

    @unary
    async def Search(self, request: search_pb.SearchRequest, context: Context) -> search_pb.SearchResponse:
        """Searches all speech."""
        if request.mode not in messages.MODES:
            raise InvalidArgument(f"there is no mode {request.mode}", field="mode")
        with told(_SEARCH_FIELDS):
            query = SearchQuery.of(
                request.query,
                max_chars=self._query_max_chars,
                seen=caller().collections,
                limit=request.page_size,
                mode=messages.MODES[request.mode],
                filters=_filter(request),
                min_tokens=request.min_tokens,
                cursor=request.page_token,
            )
        timeout = budget(context, own=self._deadline_seconds)
        return messages.search(await self._searcher.search(query, timeout=timeout))


def _filter(request: search_pb.SearchRequest) -> SearchFilter:
    return SearchFilter.of(
        video_ids=request.video_ids,
        language=request.language,
        collections=request.collections,
        speakers=request.speakers,
        tags=request.tags,
        uploaded_since=_date(request.uploaded_since, "uploaded_since") if request.HasField("uploaded_since") else None,
        uploaded_before=_date(request.uploaded_before, "uploaded_before")
        if request.HasField("uploaded_before")
        else None,
        min_duration=messages.seconds(request.min_duration) if request.HasField("min_duration") else None,
        max_duration=messages.seconds(request.max_duration) if request.HasField("max_duration") else None,
    )


def _date(stamp: Timestamp, field: str) -> dt.datetime:
    try:
        return stamp.ToDatetime(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{stamp.seconds} s and {stamp.nanos} ns is no time in the years 1 to 9999", field=field
        ) from None


def _speech(given: pb.SpeechOptions, *, heard: bool = True) -> SpeechOptions:
    if given.task not in messages.TASKS:
        raise InvalidArgument(f"there is no task {given.task}", field="task")
    return checked_speech(
        language=given.language,
        prompt=given.prompt,
        hotwords=given.hotwords,
        task=messages.TASKS[given.task],
        heard=heard,
    )


def _transcript(request: pb.ImportVideoRequest, max_segments: int) -> NewTranscript:
    new = request.video
    if new.HasField("speech") or new.captions:
        field = "video.captions" if new.captions else "video.speech"
        raise InvalidArgument("nothing is heard in an import; its transcript is `segments`", field=field)
    return import_form.checked(
        (_line(segment) for segment in request.segments),
        max_segments=max_segments,
        title=new.title,
        url=new.uri,
        filename=new.filename,
        language=request.language,
        duration=messages.seconds(request.duration) if request.HasField("duration") else None,
        collection=new.collection,
        tags=list(new.tags),
        external_id=request.external_id,
    )


def _line(segment: pb.TranscriptSegment) -> Line:
    return messages.seconds(segment.start_offset), messages.seconds(segment.end_offset), segment.text, segment.speaker


async def _data(requests: AsyncIterator[pb.CreateVideoRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "data":
            raise InvalidArgument("only data may follow the first message", field="data")
        yield request.data
