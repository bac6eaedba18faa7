import datetime

from earmark.v1 import transcript_pb2 as _transcript_pb2
from earmark.v1 import video_pb2 as _video_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetTranscriptRequest(_message.Message):
    __slots__ = ("video_id", "suspect", "original")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    suspect: _transcript_pb2.SuspectSegments
    original: bool
    def __init__(self, video_id: _Optional[str] = ..., suspect: _Optional[_Union[_transcript_pb2.SuspectSegments, str]] = ..., original: _Optional[bool] = ...) -> None: ...

class GetTranscriptResponse(_message.Message):
    __slots__ = ("transcript",)
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    transcript: _transcript_pb2.Transcript
    def __init__(self, transcript: _Optional[_Union[_transcript_pb2.Transcript, _Mapping]] = ...) -> None: ...

class GetCaptionsRequest(_message.Message):
    __slots__ = ("video_id", "format", "suspect", "words", "original")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    format: _transcript_pb2.CaptionFormat
    suspect: _transcript_pb2.SuspectSegments
    words: bool
    original: bool
    def __init__(self, video_id: _Optional[str] = ..., format: _Optional[_Union[_transcript_pb2.CaptionFormat, str]] = ..., suspect: _Optional[_Union[_transcript_pb2.SuspectSegments, str]] = ..., words: _Optional[bool] = ..., original: _Optional[bool] = ...) -> None: ...

class GetCaptionsResponse(_message.Message):
    __slots__ = ("text", "complete", "revision")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    text: str
    complete: bool
    revision: int
    def __init__(self, text: _Optional[str] = ..., complete: _Optional[bool] = ..., revision: _Optional[int] = ...) -> None: ...

class CaptionsFile(_message.Message):
    __slots__ = ("format", "content")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    format: _transcript_pb2.CaptionFormat
    content: bytes
    def __init__(self, format: _Optional[_Union[_transcript_pb2.CaptionFormat, str]] = ..., content: _Optional[bytes] = ...) -> None: ...

class SegmentList(_message.Message):
    __slots__ = ("segments", "language")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[_transcript_pb2.Segment]
    language: str
    def __init__(self, segments: _Optional[_Iterable[_Union[_transcript_pb2.Segment, _Mapping]]] = ..., language: _Optional[str] = ...) -> None: ...

class PutTranscriptRequest(_message.Message):
    __slots__ = ("video_id", "base_revision", "captions", "segments")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    base_revision: int
    captions: CaptionsFile
    segments: SegmentList
    def __init__(self, video_id: _Optional[str] = ..., base_revision: _Optional[int] = ..., captions: _Optional[_Union[CaptionsFile, _Mapping]] = ..., segments: _Optional[_Union[SegmentList, _Mapping]] = ...) -> None: ...

class PutTranscriptResponse(_message.Message):
    __slots__ = ("video",)
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    video: _video_pb2.Video
    def __init__(self, video: _Optional[_Union[_video_pb2.Video, _Mapping]] = ...) -> None: ...

class UpdateSegmentRequest(_message.Message):
    __slots__ = ("video_id", "segment_id", "base_revision", "text", "start_offset", "end_offset", "speaker", "suspect")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    segment_id: str
    base_revision: int
    text: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    speaker: str
    suspect: str
    def __init__(self, video_id: _Optional[str] = ..., segment_id: _Optional[str] = ..., base_revision: _Optional[int] = ..., text: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., speaker: _Optional[str] = ..., suspect: _Optional[str] = ...) -> None: ...

class UpdateSegmentResponse(_message.Message):
    __slots__ = ("video", "segment")
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    video: _video_pb2.Video
    segment: _transcript_pb2.Segment
    def __init__(self, video: _Optional[_Union[_video_pb2.Video, _Mapping]] = ..., segment: _Optional[_Union[_transcript_pb2.Segment, _Mapping]] = ...) -> None: ...
