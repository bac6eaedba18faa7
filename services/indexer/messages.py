"""Between the protocol's messages and the shard's own types."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import InvalidArgument
from services.common.slots import bitmap, from_bitmap
from services.indexer.chunks import Batch, Chunk, Filter, Found, Hit, PutChunks, Query, Vectors, VideoInfo
from services.indexer.places import Place
from services.indexer.record import chunk_id_of, seconds
from services.indexer.replica import Replica

MAX_BATCH = 256


def to_query(request: pb.SearchShardRequest) -> Query:
    """Reads a search. Raises InvalidArgument when the vector is not float32, or the filter or the slots are wrong."""
    slots = None
    if request.slots:
        try:
            slots = from_bitmap(request.slots)
        except ValueError as error:
            raise InvalidArgument(str(error), field="slots") from error
    return Query(
        vector=_vector(request.vector, "vector") if request.vector else None,
        model_revision=request.model_revision,
        text=request.text,
        k=request.k,
        filter=_filter(request.filter) if request.HasField("filter") else Filter(),
        slots=slots,
        ids_only=request.ids_only,
    )


def to_queries(request: pb.SearchShardBatchRequest) -> list[Query]:
    """Reads searches. Raises InvalidArgument when there are none, too many, or one is wrong."""
    if not 1 <= len(request.searches) <= MAX_BATCH:
        message = f"{len(request.searches)} searches; 1 to {MAX_BATCH} go together"
        raise InvalidArgument(message, field="searches")
    return [to_query(search) for search in request.searches]


def to_change(request: pb.UpsertChunksRequest) -> PutChunks:
    """Reads chunks to add. Raises InvalidArgument when a vector is missing or not float32, or their lengths differ."""
    vectors = [_vector(message.vector, "chunks.vector") for message in request.chunks]
    if len({len(vector) for vector in vectors}) > 1:
        raise InvalidArgument("the vectors are of different lengths", field="chunks.vector")
    for message in request.chunks:
        if message.video_id != message.chunk_id.split("/", 1)[0]:
            raise InvalidArgument(
                f"chunk {message.chunk_id[:80]!r} is not of video {message.video_id[:80]!r}", field="chunks.video_id"
            )
    infos = {message.video_id: VideoInfo(title=message.title) for message in request.chunks}
    return PutChunks(
        infos={**infos, **{video.video_id: _info(video) for video in request.videos}},
        batch=Batch(
            [_chunk(message) for message in request.chunks],
            np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
            request.model_revision,
        ),
    )


def check_response(
    replica: Replica, request: pb.SearchShardRequest, query: Query, *, version: str
) -> pb.SearchShardResponse:
    """Says whether what was held for an answer is held still. Raises what a search would but for a wrong vector."""
    replica.check(query)
    applied = replica.shard.applied_sequence
    return pb.SearchShardResponse(
        applied_sequence=applied,
        shard=replica.place.shard,
        replica=replica.place.replica,
        lag=replica.lag,
        model_revision=replica.shard.model_revision,
        min_sequence_reached=applied >= request.min_sequence,
        version=version,
        unchanged=version == request.unless_changed_since,
    )


def search_response(
    found: Found, place: Place, request: pb.SearchShardRequest, *, lag: int, version: str
) -> pb.SearchShardResponse:
    """Gives the answer of the replica at `place` to a search. `version` is what it said of itself before it."""
    response = pb.SearchShardResponse(
        version=version,
        legs=found.legs,
        applied_sequence=found.applied_sequence,
        shard=place.shard,
        replica=place.replica,
        lag=lag,
        model_revision=found.model_revision,
        min_sequence_reached=found.applied_sequence >= request.min_sequence,
        columns=_columns(found.hits, ids_only=request.ids_only) if request.columns else None,
    )
    for hit in () if request.columns else found.hits:
        message = response.hits.add()
        if request.ids_only:
            message.chunk.chunk_id = chunk_id_of(hit.record)
        else:
            # A record is the message but for the title: parsing it costs a tenth of filling in one field by field.
            message.chunk.MergeFromString(hit.record)
            message.chunk.title = hit.title
        if hit.semantic_score is not None:
            message.semantic_score = hit.semantic_score
        if hit.keyword_score is not None:
            message.keyword_score = hit.keyword_score
        if hit.sentence_scores:
            message.sentence_scores.extend(hit.sentence_scores)
    return response


def _columns(hits: Sequence[Hit], *, ids_only: bool) -> pb.HitColumns:
    return pb.HitColumns(
        chunk_ids=[chunk_id_of(hit.record) for hit in hits],
        # Of a message's bytes one after the other the fields are merged: nothing has to be taken apart for the title.
        chunks=[] if ids_only else [hit.record + pb.Chunk(title=hit.title).SerializeToString() for hit in hits],
        semantic_scores=_floats([math.nan if hit.semantic_score is None else hit.semantic_score for hit in hits]),
        keyword_scores=_floats([math.nan if hit.keyword_score is None else hit.keyword_score for hit in hits]),
        best_sentence_scores=_floats([max(hit.sentence_scores, default=math.nan) for hit in hits]),
        sentence_scores=[_floats(hit.sentence_scores) for hit in hits],
    )


def _floats(scores: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(scores)}f", *scores)


def state_response(replica: Replica, *, resident_bytes: int) -> pb.GetShardResponse:
    """Gives what a replica says of itself."""
    shard = replica.shard
    return pb.GetShardResponse(
        shard=replica.place.shard,
        replica=replica.place.replica,
        chunk_count=shard.chunk_count,
        video_count=shard.video_count,
        applied_sequence=shard.applied_sequence,
        snapshot_sequence=replica.snapshot_sequence,
        ready=replica.ready,
        model_revision=shard.model_revision,
        origin=replica.origin,
        lag=replica.lag,
        slots=bitmap(replica.slots),
        slot_table_version=replica.slot_table_version,
        shards_total=replica.shards_total,
        segments=[
            pb.SegmentState(
                segment_id=part.part.segment_id,
                kind=part.part.kind,
                live=part.alive.count,
                deleted=part.deleted,
                bytes=part.part.bytes_on_disk,
            )
            for part in shard.view.parts
        ],
        rebuilds=replica.rebuilds,
        rebuilding=replica.rebuild_asked,
        repaired=replica.repaired,
        resident_bytes=resident_bytes,
        trouble=sorted(replica.trouble.values()),
        search_threads=replica.search_threads,
    )


def _filter(message: pb.ChunkFilter) -> Filter:
    return Filter(
        video_ids=frozenset(message.video_ids),
        language=message.language,
        collections=frozenset(message.collections),
        speakers=frozenset(message.speakers),
        tags=frozenset(message.tags),
        uploaded_since=_time(message.uploaded_since) if message.HasField("uploaded_since") else None,
        uploaded_before=_time(message.uploaded_before) if message.HasField("uploaded_before") else None,
        min_duration=seconds(message.min_duration) if message.HasField("min_duration") else None,
        max_duration=seconds(message.max_duration) if message.HasField("max_duration") else None,
    )


def _info(message: pb.IndexedVideo) -> VideoInfo:
    return VideoInfo(
        title=message.title,
        collection=message.collection,
        tags=tuple(message.tags),
        uploaded_at=_time(message.uploaded_at),
        duration=seconds(message.duration) if message.HasField("duration") else None,
    )


def _chunk(message: pb.Chunk) -> Chunk:
    return Chunk(
        chunk_id=message.chunk_id,
        text=message.text,
        start_time=seconds(message.start_offset),
        end_time=seconds(message.end_offset),
        marks=tuple((mark.char_offset, seconds(mark.start_offset)) for mark in message.sentence_marks),
        language=message.language,
        sentence_vectors=message.sentence_vectors,
        speaker=message.speaker,
    )


def _time(timestamp: Timestamp) -> float:
    return float(timestamp.seconds + timestamp.nanos / 1e9)


def _vector(data: bytes, field: str) -> Vectors:
    if not data or len(data) % 4:
        raise InvalidArgument(f"a vector is little-endian float32, which {len(data)} bytes cannot be", field=field)
    return np.frombuffer(data, dtype="<f4").astype(np.float32)
