import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Chunk(_message.Message):
    __slots__ = ("chunk_id", "video_id", "text", "start_offset", "end_offset", "sentence_marks", "language", "title", "vector", "sentence_vectors", "speaker")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_MARKS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_VECTORS_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    chunk_id: str
    video_id: str
    text: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    sentence_marks: _containers.RepeatedCompositeFieldContainer[SentenceMark]
    language: str
    title: str
    vector: bytes
    sentence_vectors: bytes
    speaker: str
    def __init__(self, chunk_id: _Optional[str] = ..., video_id: _Optional[str] = ..., text: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sentence_marks: _Optional[_Iterable[_Union[SentenceMark, _Mapping]]] = ..., language: _Optional[str] = ..., title: _Optional[str] = ..., vector: _Optional[bytes] = ..., sentence_vectors: _Optional[bytes] = ..., speaker: _Optional[str] = ...) -> None: ...

class IndexedVideo(_message.Message):
    __slots__ = ("video_id", "title", "collection", "tags", "uploaded_at", "duration")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    title: str
    collection: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    uploaded_at: _timestamp_pb2.Timestamp
    duration: _duration_pb2.Duration
    def __init__(self, video_id: _Optional[str] = ..., title: _Optional[str] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., uploaded_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SentenceMark(_message.Message):
    __slots__ = ("char_offset", "start_offset")
    CHAR_OFFSET_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    char_offset: int
    start_offset: _duration_pb2.Duration
    def __init__(self, char_offset: _Optional[int] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ChunkFilter(_message.Message):
    __slots__ = ("video_ids", "language", "collections", "speakers", "tags", "uploaded_since", "uploaded_before", "min_duration", "max_duration")
    VIDEO_IDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_SINCE_FIELD_NUMBER: _ClassVar[int]
    UPLOADED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    video_ids: _containers.RepeatedScalarFieldContainer[str]
    language: str
    collections: _containers.RepeatedScalarFieldContainer[str]
    speakers: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    uploaded_since: _timestamp_pb2.Timestamp
    uploaded_before: _timestamp_pb2.Timestamp
    min_duration: _duration_pb2.Duration
    max_duration: _duration_pb2.Duration
    def __init__(self, video_ids: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ..., collections: _Optional[_Iterable[str]] = ..., speakers: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., uploaded_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., uploaded_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., min_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SearchShardRequest(_message.Message):
    __slots__ = ("vector", "model_revision", "text", "k", "filter", "slots", "min_sequence", "ids_only", "unless_changed_since", "columns")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IDS_ONLY_FIELD_NUMBER: _ClassVar[int]
    UNLESS_CHANGED_SINCE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    vector: bytes
    model_revision: str
    text: str
    k: int
    filter: ChunkFilter
    slots: bytes
    min_sequence: int
    ids_only: bool
    unless_changed_since: str
    columns: bool
    def __init__(self, vector: _Optional[bytes] = ..., model_revision: _Optional[str] = ..., text: _Optional[str] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[ChunkFilter, _Mapping]] = ..., slots: _Optional[bytes] = ..., min_sequence: _Optional[int] = ..., ids_only: _Optional[bool] = ..., unless_changed_since: _Optional[str] = ..., columns: _Optional[bool] = ...) -> None: ...

class SearchShardBatchRequest(_message.Message):
    __slots__ = ("searches",)
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    searches: _containers.RepeatedCompositeFieldContainer[SearchShardRequest]
    def __init__(self, searches: _Optional[_Iterable[_Union[SearchShardRequest, _Mapping]]] = ...) -> None: ...

class SearchShardBatchResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[SearchShardResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[SearchShardResponse, _Mapping]]] = ...) -> None: ...

class SearchShardResponse(_message.Message):
    __slots__ = ("hits", "legs", "applied_sequence", "shard", "replica", "lag", "model_revision", "min_sequence_reached", "version", "unchanged", "columns")
    HITS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQUENCE_REACHED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[ShardHit]
    legs: _containers.RepeatedScalarFieldContainer[str]
    applied_sequence: int
    shard: int
    replica: int
    lag: int
    model_revision: str
    min_sequence_reached: bool
    version: str
    unchanged: bool
    columns: HitColumns
    def __init__(self, hits: _Optional[_Iterable[_Union[ShardHit, _Mapping]]] = ..., legs: _Optional[_Iterable[str]] = ..., applied_sequence: _Optional[int] = ..., shard: _Optional[int] = ..., replica: _Optional[int] = ..., lag: _Optional[int] = ..., model_revision: _Optional[str] = ..., min_sequence_reached: _Optional[bool] = ..., version: _Optional[str] = ..., unchanged: _Optional[bool] = ..., columns: _Optional[_Union[HitColumns, _Mapping]] = ...) -> None: ...

class HitColumns(_message.Message):
    __slots__ = ("chunk_ids", "chunks", "semantic_scores", "keyword_scores", "best_sentence_scores", "sentence_scores")
    CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_SCORES_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_SCORES_FIELD_NUMBER: _ClassVar[int]
    BEST_SENTENCE_SCORES_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_SCORES_FIELD_NUMBER: _ClassVar[int]
    chunk_ids: _containers.RepeatedScalarFieldContainer[str]
    chunks: _containers.RepeatedScalarFieldContainer[bytes]
    semantic_scores: bytes
    keyword_scores: bytes
    best_sentence_scores: bytes
    sentence_scores: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, chunk_ids: _Optional[_Iterable[str]] = ..., chunks: _Optional[_Iterable[bytes]] = ..., semantic_scores: _Optional[bytes] = ..., keyword_scores: _Optional[bytes] = ..., best_sentence_scores: _Optional[bytes] = ..., sentence_scores: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ShardHit(_message.Message):
    __slots__ = ("chunk", "semantic_score", "keyword_score", "sentence_scores")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_SCORE_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_SCORE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_SCORES_FIELD_NUMBER: _ClassVar[int]
    chunk: Chunk
    semantic_score: float
    keyword_score: float
    sentence_scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, chunk: _Optional[_Union[Chunk, _Mapping]] = ..., semantic_score: _Optional[float] = ..., keyword_score: _Optional[float] = ..., sentence_scores: _Optional[_Iterable[float]] = ...) -> None: ...

class UpsertChunksRequest(_message.Message):
    __slots__ = ("chunks", "model_revision", "videos")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    VIDEOS_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    model_revision: str
    videos: _containers.RepeatedCompositeFieldContainer[IndexedVideo]
    def __init__(self, chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., model_revision: _Optional[str] = ..., videos: _Optional[_Iterable[_Union[IndexedVideo, _Mapping]]] = ...) -> None: ...

class UpsertChunksResponse(_message.Message):
    __slots__ = ("chunks_upserted",)
    CHUNKS_UPSERTED_FIELD_NUMBER: _ClassVar[int]
    chunks_upserted: int
    def __init__(self, chunks_upserted: _Optional[int] = ...) -> None: ...

class DeleteVideoRequest(_message.Message):
    __slots__ = ("video_id",)
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    def __init__(self, video_id: _Optional[str] = ...) -> None: ...

class DeleteVideoResponse(_message.Message):
    __slots__ = ("chunks_deleted",)
    CHUNKS_DELETED_FIELD_NUMBER: _ClassVar[int]
    chunks_deleted: int
    def __init__(self, chunks_deleted: _Optional[int] = ...) -> None: ...

class GetShardRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetShardResponse(_message.Message):
    __slots__ = ("shard", "replica", "shards_total", "chunk_count", "video_count", "applied_sequence", "snapshot_sequence", "ready", "model_revision", "origin", "lag", "slots", "slot_table_version", "segments", "rebuilds", "rebuilding", "repaired", "resident_bytes", "trouble", "search_threads")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    VIDEO_COUNT_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    REBUILDS_FIELD_NUMBER: _ClassVar[int]
    REBUILDING_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_THREADS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    replica: int
    shards_total: int
    chunk_count: int
    video_count: int
    applied_sequence: int
    snapshot_sequence: int
    ready: bool
    model_revision: str
    origin: str
    lag: int
    slots: bytes
    slot_table_version: int
    segments: _containers.RepeatedCompositeFieldContainer[SegmentState]
    rebuilds: int
    rebuilding: bool
    repaired: _containers.RepeatedScalarFieldContainer[str]
    resident_bytes: int
    trouble: _containers.RepeatedScalarFieldContainer[str]
    search_threads: int
    def __init__(self, shard: _Optional[int] = ..., replica: _Optional[int] = ..., shards_total: _Optional[int] = ..., chunk_count: _Optional[int] = ..., video_count: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., snapshot_sequence: _Optional[int] = ..., ready: _Optional[bool] = ..., model_revision: _Optional[str] = ..., origin: _Optional[str] = ..., lag: _Optional[int] = ..., slots: _Optional[bytes] = ..., slot_table_version: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[SegmentState, _Mapping]]] = ..., rebuilds: _Optional[int] = ..., rebuilding: _Optional[bool] = ..., repaired: _Optional[_Iterable[str]] = ..., resident_bytes: _Optional[int] = ..., trouble: _Optional[_Iterable[str]] = ..., search_threads: _Optional[int] = ...) -> None: ...

class SegmentState(_message.Message):
    __slots__ = ("segment_id", "kind", "live", "deleted", "bytes")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    kind: str
    live: int
    deleted: int
    bytes: int
    def __init__(self, segment_id: _Optional[str] = ..., kind: _Optional[str] = ..., live: _Optional[int] = ..., deleted: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class DescribeSlotsRequest(_message.Message):
    __slots__ = ("slots", "min_sequence")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    min_sequence: int
    def __init__(self, slots: _Optional[_Iterable[int]] = ..., min_sequence: _Optional[int] = ...) -> None: ...

class DescribeSlotsResponse(_message.Message):
    __slots__ = ("slots", "applied_sequence")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedCompositeFieldContainer[SlotState]
    applied_sequence: int
    def __init__(self, slots: _Optional[_Iterable[_Union[SlotState, _Mapping]]] = ..., applied_sequence: _Optional[int] = ...) -> None: ...

class SlotState(_message.Message):
    __slots__ = ("slot", "chunk_count", "digest")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    slot: int
    chunk_count: int
    digest: bytes
    def __init__(self, slot: _Optional[int] = ..., chunk_count: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class RebuildShardRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RebuildShardResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
