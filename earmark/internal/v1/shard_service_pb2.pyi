import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Chunk(_message.Message):
    __slots__ = ("chunk_id", "video_id", "text", "start_offset", "end_offset", "sentence_marks", "language", "title", "vector", "sentence_vectors")
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
    def __init__(self, chunk_id: _Optional[str] = ..., video_id: _Optional[str] = ..., text: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sentence_marks: _Optional[_Iterable[_Union[SentenceMark, _Mapping]]] = ..., language: _Optional[str] = ..., title: _Optional[str] = ..., vector: _Optional[bytes] = ..., sentence_vectors: _Optional[bytes] = ...) -> None: ...

class SentenceMark(_message.Message):
    __slots__ = ("char_offset", "start_offset")
    CHAR_OFFSET_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    char_offset: int
    start_offset: _duration_pb2.Duration
    def __init__(self, char_offset: _Optional[int] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ChunkFilter(_message.Message):
    __slots__ = ("video_ids", "language")
    VIDEO_IDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    video_ids: _containers.RepeatedScalarFieldContainer[str]
    language: str
    def __init__(self, video_ids: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ...) -> None: ...

class SearchShardRequest(_message.Message):
    __slots__ = ("vector", "model_revision", "text", "k", "filter")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    vector: bytes
    model_revision: str
    text: str
    k: int
    filter: ChunkFilter
    def __init__(self, vector: _Optional[bytes] = ..., model_revision: _Optional[str] = ..., text: _Optional[str] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[ChunkFilter, _Mapping]] = ...) -> None: ...

class SearchShardResponse(_message.Message):
    __slots__ = ("hits", "legs", "applied_sequence", "shard")
    HITS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[ShardHit]
    legs: _containers.RepeatedScalarFieldContainer[str]
    applied_sequence: int
    shard: int
    def __init__(self, hits: _Optional[_Iterable[_Union[ShardHit, _Mapping]]] = ..., legs: _Optional[_Iterable[str]] = ..., applied_sequence: _Optional[int] = ..., shard: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("chunks", "model_revision")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    model_revision: str
    def __init__(self, chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., model_revision: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("shard", "replica", "shards_total", "chunk_count", "video_count", "applied_sequence", "snapshot_sequence", "ready", "model_revision", "origin")
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
    def __init__(self, shard: _Optional[int] = ..., replica: _Optional[int] = ..., shards_total: _Optional[int] = ..., chunk_count: _Optional[int] = ..., video_count: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., snapshot_sequence: _Optional[int] = ..., ready: _Optional[bool] = ..., model_revision: _Optional[str] = ..., origin: _Optional[str] = ...) -> None: ...
