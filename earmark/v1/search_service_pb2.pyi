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

class SearchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_MODE_UNSPECIFIED: _ClassVar[SearchMode]
    SEARCH_MODE_HYBRID: _ClassVar[SearchMode]
    SEARCH_MODE_SEMANTIC: _ClassVar[SearchMode]
    SEARCH_MODE_KEYWORD: _ClassVar[SearchMode]
SEARCH_MODE_UNSPECIFIED: SearchMode
SEARCH_MODE_HYBRID: SearchMode
SEARCH_MODE_SEMANTIC: SearchMode
SEARCH_MODE_KEYWORD: SearchMode

class SearchRequest(_message.Message):
    __slots__ = ("query", "page_size", "page_token", "video_ids", "language", "mode", "collections", "speakers", "tags", "uploaded_since", "uploaded_before", "min_duration", "max_duration", "min_tokens")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIDEO_IDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_SINCE_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    query: str
    page_size: int
    page_token: str
    video_ids: _containers.RepeatedScalarFieldContainer[str]
    language: str
    mode: SearchMode
    collections: _containers.RepeatedScalarFieldContainer[str]
    speakers: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    uploaded_since: _timestamp_pb2.Timestamp
    uploaded_before: _timestamp_pb2.Timestamp
    min_duration: _duration_pb2.Duration
    max_duration: _duration_pb2.Duration
    min_tokens: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, query: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., video_ids: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., collections: _Optional[_Iterable[str]] = ..., speakers: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., uploaded_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., uploaded_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., min_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_tokens: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "coverage", "timing")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    next_page_token: str
    coverage: SearchCoverage
    timing: SearchTiming
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., coverage: _Optional[_Union[SearchCoverage, _Mapping]] = ..., timing: _Optional[_Union[SearchTiming, _Mapping]] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("video_id", "title", "language", "chunk_id", "text", "highlights", "start_offset", "end_offset", "match_offset", "score", "semantic", "keyword", "more", "speaker", "sentence")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    MATCH_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    title: str
    language: str
    chunk_id: str
    text: str
    highlights: _containers.RepeatedCompositeFieldContainer[TextRange]
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    match_offset: _duration_pb2.Duration
    score: float
    semantic: LegScore
    keyword: LegScore
    more: _containers.RepeatedCompositeFieldContainer[SearchHit]
    speaker: str
    sentence: TextRange
    def __init__(self, video_id: _Optional[str] = ..., title: _Optional[str] = ..., language: _Optional[str] = ..., chunk_id: _Optional[str] = ..., text: _Optional[str] = ..., highlights: _Optional[_Iterable[_Union[TextRange, _Mapping]]] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., match_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., score: _Optional[float] = ..., semantic: _Optional[_Union[LegScore, _Mapping]] = ..., keyword: _Optional[_Union[LegScore, _Mapping]] = ..., more: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., speaker: _Optional[str] = ..., sentence: _Optional[_Union[TextRange, _Mapping]] = ...) -> None: ...

class TextRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class LegScore(_message.Message):
    __slots__ = ("score", "rank")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    score: float
    rank: int
    def __init__(self, score: _Optional[float] = ..., rank: _Optional[int] = ...) -> None: ...

class SearchCoverage(_message.Message):
    __slots__ = ("shards_total", "shards_answered", "complete", "legs", "embedding_model", "missing", "replicas", "tokens_reached")
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SHARDS_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_REACHED_FIELD_NUMBER: _ClassVar[int]
    shards_total: int
    shards_answered: int
    complete: bool
    legs: _containers.RepeatedScalarFieldContainer[str]
    embedding_model: str
    missing: _containers.RepeatedCompositeFieldContainer[MissingShard]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaCoverage]
    tokens_reached: bool
    def __init__(self, shards_total: _Optional[int] = ..., shards_answered: _Optional[int] = ..., complete: _Optional[bool] = ..., legs: _Optional[_Iterable[str]] = ..., embedding_model: _Optional[str] = ..., missing: _Optional[_Iterable[_Union[MissingShard, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaCoverage, _Mapping]]] = ..., tokens_reached: _Optional[bool] = ...) -> None: ...

class ReplicaCoverage(_message.Message):
    __slots__ = ("shard", "replica", "applied_sequence", "lag")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    shard: int
    replica: int
    applied_sequence: int
    lag: int
    def __init__(self, shard: _Optional[int] = ..., replica: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., lag: _Optional[int] = ...) -> None: ...

class MissingShard(_message.Message):
    __slots__ = ("shard", "reason")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    shard: int
    reason: str
    def __init__(self, shard: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class SearchTiming(_message.Message):
    __slots__ = ("total", "embed", "shards", "fuse")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    FUSE_FIELD_NUMBER: _ClassVar[int]
    total: _duration_pb2.Duration
    embed: _duration_pb2.Duration
    shards: _duration_pb2.Duration
    fuse: _duration_pb2.Duration
    def __init__(self, total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., embed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shards: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fuse: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
