"""The public gRPC service of transcripts, over the same domain code as the HTTP routes."""

# ruff: noqa: N802, ARG002  (names and arguments of the methods are the protocol's)

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from earmark.v1 import transcript_pb2
from earmark.v1 import transcript_service_pb2 as pb
from earmark.v1 import transcript_service_pb2_grpc as transcript_grpc
from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.rpc import MESSAGE_BYTES
from services.common.videos.model import Video
from services.gateway import messages
from services.gateway.edits import Edits, SegmentChange
from services.gateway.library import Library
from services.gateway.rpc_errors import told, unary
from services.gateway.transcript_form import GivenTranscript, from_rows

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]

_PUT_FIELDS = {"body": "captions.content", "segments": "transcript"}
_SEGMENT_FIELDS = {"start": "start_offset", "end": "end_offset"}


class TranscriptServicer(transcript_grpc.TranscriptServiceServicer):
    """Transcripts: read in their forms, put in place, corrected."""

    def __init__(self, *, library: Library, edits: Edits) -> None:
        self._library = library
        self._edits = edits

    @unary
    async def GetTranscript(self, request: pb.GetTranscriptRequest, context: Context) -> pb.GetTranscriptResponse:
        """Gives what was said."""
        suspect = _named(messages.SUSPECT, request.suspect, "suspect") != "exclude"
        write = partial(messages.transcript, suspect=suspect)
        found = await self._library.spoken(request.video_id, write, original=request.original)
        return _sendable(pb.GetTranscriptResponse(transcript=found))

    @unary
    async def GetCaptions(self, request: pb.GetCaptionsRequest, context: Context) -> pb.GetCaptionsResponse:
        """Gives what was said as captions or as text."""
        found = await self._library.transcript(
            request.video_id,
            _form(request.format, "format", "VTT, SRT or TXT"),
            _named(messages.SUSPECT, request.suspect, "suspect"),
            words=request.words,
            original=request.original,
        )
        return _sendable(
            pb.GetCaptionsResponse(text=found.body.decode(), complete=found.complete, revision=found.revision)
        )

    @unary
    async def PutTranscript(self, request: pb.PutTranscriptRequest, context: Context) -> pb.PutTranscriptResponse:
        """Puts a transcript in place of the one there is."""
        with told(_PUT_FIELDS):
            return pb.PutTranscriptResponse(video=messages.video(await self._put(request)))

    async def _put(self, request: pb.PutTranscriptRequest) -> Video:
        revision = request.base_revision if request.HasField("base_revision") else None
        if request.HasField("captions"):
            if request.captions.format == transcript_pb2.CAPTION_FORMAT_TXT:
                raise InvalidArgument("text without times cannot be put; give VTT or SRT", field="captions.format")
            form = _form(request.captions.format, "captions.format", "VTT or SRT")
            return await self._edits.put(request.video_id, _block(request.captions.content), form, revision)
        if not request.HasField("segments"):
            raise InvalidArgument("there is no transcript; give captions or segments", field="transcript")
        read = partial(_given, request.segments, self._edits.max_segments)
        return await self._edits.put_given(request.video_id, read, revision)

    @unary
    async def UpdateSegment(self, request: pb.UpdateSegmentRequest, context: Context) -> pb.UpdateSegmentResponse:
        """Corrects one segment."""
        texts = {name: getattr(request, name) for name in ("text", "speaker", "suspect") if request.HasField(name)}
        change = SegmentChange(
            start=messages.seconds(request.start_offset) if request.HasField("start_offset") else None,
            end=messages.seconds(request.end_offset) if request.HasField("end_offset") else None,
            **texts,
        )
        revision = request.base_revision if request.HasField("base_revision") else None
        with told(_SEGMENT_FIELDS):
            video, edited = await self._edits.change(request.video_id, request.segment_id, change, revision)
        segment = messages.segment(request.segment_id, edited)
        return pb.UpdateSegmentResponse(video=messages.video(video), segment=segment)


def _form(value: int, field: str, choice: str) -> str:
    """Gives what the domain calls a form of captions, of which one has to be named. Raises InvalidArgument."""
    if value == transcript_pb2.CAPTION_FORMAT_UNSPECIFIED:
        raise InvalidArgument(f"{field} is missing; give {choice}", field=field)
    return _named(messages.FORMATS, value, field)


def _named(names: Mapping[Any, str], value: int, field: str) -> str:
    """Gives what the domain calls a value of an enumeration. Raises InvalidArgument."""
    if value not in names:
        raise InvalidArgument(f"there is no {field} {value}", field=field)
    return names[value]


def _sendable(response: M) -> M:
    """Gives a response back that fits into a message; one that does not would be lost without a reason."""
    if response.ByteSize() > MESSAGE_BYTES:
        raise FailedPrecondition(
            f"it is over {MESSAGE_BYTES} bytes, which is the most a message holds; get it over HTTP",
            reason="TRANSCRIPT_TOO_LARGE",
            metadata={"max_bytes": str(MESSAGE_BYTES)},
        )
    return response


async def _block(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _given(segments: pb.SegmentList, max_segments: int) -> GivenTranscript:
    return from_rows(_rows(segments), segments.language, max_segments=max_segments)


def _rows(segments: pb.SegmentList) -> Iterator[dict[str, Any]]:
    for segment in segments.segments:
        row: dict[str, Any] = {
            "start": messages.seconds(segment.start_offset),
            "end": messages.seconds(segment.end_offset),
            "text": segment.text,
            "speaker": segment.speaker,
            "suspect": segment.suspect,
            "language": segment.language,
        }
        if segment.words:
            row["words"] = [
                {
                    "start": messages.seconds(word.start_offset),
                    "end": messages.seconds(word.end_offset),
                    "text": word.text,
                    "probability": word.probability,
                }
                for word in segment.words
            ]
        yield row
