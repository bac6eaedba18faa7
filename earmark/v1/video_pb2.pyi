import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VideoState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIDEO_STATE_UNSPECIFIED: _ClassVar[VideoState]
    VIDEO_STATE_UPLOADED: _ClassVar[VideoState]
    VIDEO_STATE_PROCESSING: _ClassVar[VideoState]
    VIDEO_STATE_READY: _ClassVar[VideoState]
    VIDEO_STATE_FAILED: _ClassVar[VideoState]
    VIDEO_STATE_DELETING: _ClassVar[VideoState]

class SliceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLICE_STATE_UNSPECIFIED: _ClassVar[SliceState]
    SLICE_STATE_CUT: _ClassVar[SliceState]
    SLICE_STATE_TRANSCRIBED: _ClassVar[SliceState]
    SLICE_STATE_EMBEDDED: _ClassVar[SliceState]
    SLICE_STATE_INDEXED: _ClassVar[SliceState]
    SLICE_STATE_FAILED: _ClassVar[SliceState]

class Playable(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAYABLE_UNSPECIFIED: _ClassVar[Playable]
    PLAYABLE_ORIGINAL: _ClassVar[Playable]
    PLAYABLE_PREPARING: _ClassVar[Playable]
    PLAYABLE_RENDITION: _ClassVar[Playable]
    PLAYABLE_FAILED: _ClassVar[Playable]
VIDEO_STATE_UNSPECIFIED: VideoState
VIDEO_STATE_UPLOADED: VideoState
VIDEO_STATE_PROCESSING: VideoState
VIDEO_STATE_READY: VideoState
VIDEO_STATE_FAILED: VideoState
VIDEO_STATE_DELETING: VideoState
SLICE_STATE_UNSPECIFIED: SliceState
SLICE_STATE_CUT: SliceState
SLICE_STATE_TRANSCRIBED: SliceState
SLICE_STATE_EMBEDDED: SliceState
SLICE_STATE_INDEXED: SliceState
SLICE_STATE_FAILED: SliceState
PLAYABLE_UNSPECIFIED: Playable
PLAYABLE_ORIGINAL: Playable
PLAYABLE_PREPARING: Playable
PLAYABLE_RENDITION: Playable
PLAYABLE_FAILED: Playable

class MediaSource(_message.Message):
    __slots__ = ("filename", "content_type", "size_bytes", "sha256")
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    def __init__(self, filename: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Slice(_message.Message):
    __slots__ = ("slice_id", "start_offset", "end_offset", "state", "attempts")
    SLICE_ID_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    slice_id: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    state: SliceState
    attempts: int
    def __init__(self, slice_id: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., state: _Optional[_Union[SliceState, str]] = ..., attempts: _Optional[int] = ...) -> None: ...

class VideoProgress(_message.Message):
    __slots__ = ("slices_known", "slicing_done", "slices_done", "slices_failed", "searchable_duration", "known_duration", "slices")
    SLICES_KNOWN_FIELD_NUMBER: _ClassVar[int]
    SLICING_DONE_FIELD_NUMBER: _ClassVar[int]
    SLICES_DONE_FIELD_NUMBER: _ClassVar[int]
    SLICES_FAILED_FIELD_NUMBER: _ClassVar[int]
    SEARCHABLE_DURATION_FIELD_NUMBER: _ClassVar[int]
    KNOWN_DURATION_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    slices_known: int
    slicing_done: bool
    slices_done: int
    slices_failed: int
    searchable_duration: _duration_pb2.Duration
    known_duration: _duration_pb2.Duration
    slices: _containers.RepeatedCompositeFieldContainer[Slice]
    def __init__(self, slices_known: _Optional[int] = ..., slicing_done: _Optional[bool] = ..., slices_done: _Optional[int] = ..., slices_failed: _Optional[int] = ..., searchable_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., known_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slices: _Optional[_Iterable[_Union[Slice, _Mapping]]] = ...) -> None: ...

class VideoMetadata(_message.Message):
    __slots__ = ("uploaded_at", "processed_at", "language", "asr_model", "embedding_model", "speaker_count", "languages")
    UPLOADED_AT_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_AT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    ASR_MODEL_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    uploaded_at: _timestamp_pb2.Timestamp
    processed_at: _timestamp_pb2.Timestamp
    language: str
    asr_model: str
    embedding_model: str
    speaker_count: int
    languages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, uploaded_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., processed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., language: _Optional[str] = ..., asr_model: _Optional[str] = ..., embedding_model: _Optional[str] = ..., speaker_count: _Optional[int] = ..., languages: _Optional[_Iterable[str]] = ...) -> None: ...

class VideoError(_message.Message):
    __slots__ = ("stage", "reason", "message", "at", "slice_id")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    SLICE_ID_FIELD_NUMBER: _ClassVar[int]
    stage: str
    reason: str
    message: str
    at: _timestamp_pb2.Timestamp
    slice_id: str
    def __init__(self, stage: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., slice_id: _Optional[str] = ...) -> None: ...

class Video(_message.Message):
    __slots__ = ("video_id", "title", "url", "state", "duration", "source", "progress", "metadata", "error", "warnings", "revision", "collection", "tags", "index_token", "transcript_revision", "playable", "playable_message", "restorable_until")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    INDEX_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_REVISION_FIELD_NUMBER: _ClassVar[int]
    PLAYABLE_FIELD_NUMBER: _ClassVar[int]
    PLAYABLE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESTORABLE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    title: str
    url: str
    state: VideoState
    duration: _duration_pb2.Duration
    source: MediaSource
    progress: VideoProgress
    metadata: VideoMetadata
    error: VideoError
    warnings: _containers.RepeatedCompositeFieldContainer[VideoWarning]
    revision: int
    collection: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    index_token: str
    transcript_revision: int
    playable: Playable
    playable_message: str
    restorable_until: _timestamp_pb2.Timestamp
    def __init__(self, video_id: _Optional[str] = ..., title: _Optional[str] = ..., url: _Optional[str] = ..., state: _Optional[_Union[VideoState, str]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., source: _Optional[_Union[MediaSource, _Mapping]] = ..., progress: _Optional[_Union[VideoProgress, _Mapping]] = ..., metadata: _Optional[_Union[VideoMetadata, _Mapping]] = ..., error: _Optional[_Union[VideoError, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[VideoWarning, _Mapping]]] = ..., revision: _Optional[int] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., index_token: _Optional[str] = ..., transcript_revision: _Optional[int] = ..., playable: _Optional[_Union[Playable, str]] = ..., playable_message: _Optional[str] = ..., restorable_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VideoWarning(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
