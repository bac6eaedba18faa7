"""TranscriberService over gRPC."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from earmark.internal.v1 import transcriber_service_pb2 as pb
from earmark.internal.v1 import transcriber_service_pb2_grpc as pb_grpc
from services.common.errors import InvalidArgument
from services.common.transcript import Segment
from services.transcriber.transcription import Transcription

_LANGUAGE = re.compile(r"[a-z]{2,3}")


class TranscriberServicer(pb_grpc.TranscriberServiceServicer):
    """Converts and delegates."""

    def __init__(self, transcription: Transcription) -> None:
        self._transcription = transcription

    async def Transcribe(  # noqa: N802
        self, request: pb.TranscribeRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.TranscribeResponse]:
        """See the proto."""
        language = request.language or None
        if language is not None and not _LANGUAGE.fullmatch(language):
            raise InvalidArgument("language must be an ISO 639-1 code such as 'en', or empty", field="language")
        match request.WhichOneof("source"):
            case "slice_key":
                parts = self._transcription.of_slice(request.slice_key, language=language)
            case "media_uri":
                parts = self._transcription.of_media(request.media_uri, language=language)
            case _:
                raise InvalidArgument("give media_uri or slice_key", field="source")
        async with aclosing(parts):
            async for part in parts:
                for segment in part.segments:
                    yield pb.TranscribeResponse(
                        segment=to_proto(segment), language=part.language, asr_model=part.asr_model
                    )


def to_proto(segment: Segment) -> pb.Segment:
    """Gives a segment as a message."""
    return pb.Segment(
        start_offset=_duration(segment.start),
        end_offset=_duration(segment.end),
        text=segment.text,
        words=[
            pb.Word(
                start_offset=_duration(word.start),
                end_offset=_duration(word.end),
                text=word.text,
                probability=word.probability,
            )
            for word in segment.words
        ],
        average_log_probability=segment.average_log_probability,
        no_speech_probability=segment.no_speech_probability,
        compression_ratio=segment.compression_ratio,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration
