import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaptionFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTION_FORMAT_UNSPECIFIED: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_VTT: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_SRT: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_TXT: _ClassVar[CaptionFormat]

class SuspectSegments(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUSPECT_SEGMENTS_UNSPECIFIED: _ClassVar[SuspectSegments]
    SUSPECT_SEGMENTS_INCLUDE: _ClassVar[SuspectSegments]
    SUSPECT_SEGMENTS_EXCLUDE: _ClassVar[SuspectSegments]
CAPTION_FORMAT_UNSPECIFIED: CaptionFormat
CAPTION_FORMAT_VTT: CaptionFormat
CAPTION_FORMAT_SRT: CaptionFormat
CAPTION_FORMAT_TXT: CaptionFormat
SUSPECT_SEGMENTS_UNSPECIFIED: SuspectSegments
SUSPECT_SEGMENTS_INCLUDE: SuspectSegments
SUSPECT_SEGMENTS_EXCLUDE: SuspectSegments

class Word(_message.Message):
    __slots__ = ("start_offset", "end_offset", "text", "probability")
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    text: str
    probability: float
    def __init__(self, start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("segment_id", "start_offset", "end_offset", "text", "speaker", "language", "words", "suspect", "confidence", "speech_share", "average_log_probability", "no_speech_probability", "compression_ratio")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SHARE_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    NO_SPEECH_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_RATIO_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    text: str
    speaker: str
    language: str
    words: _containers.RepeatedCompositeFieldContainer[Word]
    suspect: str
    confidence: float
    speech_share: float
    average_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    def __init__(self, segment_id: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., speaker: _Optional[str] = ..., language: _Optional[str] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., suspect: _Optional[str] = ..., confidence: _Optional[float] = ..., speech_share: _Optional[float] = ..., average_log_probability: _Optional[float] = ..., no_speech_probability: _Optional[float] = ..., compression_ratio: _Optional[float] = ...) -> None: ...

class Transcript(_message.Message):
    __slots__ = ("video_id", "language", "complete", "revision", "segments")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    language: str
    complete: bool
    revision: int
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    def __init__(self, video_id: _Optional[str] = ..., language: _Optional[str] = ..., complete: _Optional[bool] = ..., revision: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ...) -> None: ...
