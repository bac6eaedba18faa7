import numpy as np
import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import InvalidArgument
from services.indexer.chunks import Chunk, Found, Hit
from services.indexer.messages import search_response, to_change, to_query
from services.indexer.record import encode

CHUNK = Chunk("vid_a/00001/0002", "Ä text. And more.", 330.123456789, 359.5, ((0, 330.123456789), (8, 341.25)), "de")


def message(hit: Hit) -> pb.ShardHit:
    return HitMessages().response(Found([hit], ("semantic",), 9), shard=1).hits[0]


def test_a_hit_carries_all_of_its_chunk_and_no_vector() -> None:
    hit = message(Hit(5, CHUNK, "Title", 0.25, None))
    assert (hit.chunk.chunk_id, hit.chunk.video_id, hit.chunk.text) == (CHUNK.chunk_id, "vid_a", CHUNK.text)
    assert (hit.chunk.title, hit.chunk.language, hit.chunk.vector) == ("Title", "de", b"")
    assert (hit.chunk.start_offset.seconds, hit.chunk.start_offset.nanos) == (330, 123456789)
    assert [
        (mark.char_offset, mark.start_offset.ToTimedelta().total_seconds()) for mark in hit.chunk.sentence_marks
    ] == [
        (0, pytest.approx(330.123457)),
        (8, 341.25),
    ]


def test_a_score_of_a_leg_that_did_not_find_it_is_unset() -> None:
    semantic, keyword = message(Hit(1, CHUNK, "", 0.0, None)), message(Hit(1, CHUNK, "", None, 0.0))
    assert (semantic.HasField("semantic_score"), semantic.HasField("keyword_score")) == (True, False)
    assert (keyword.HasField("semantic_score"), keyword.HasField("keyword_score")) == (False, True)


def test_sentence_scores_are_sent() -> None:
    hit = Hit(1, CHUNK, "Title", 0.25, None, [0.5, -0.25])
    messages = HitMessages()
    for _ in range(2):  # the second time from memory
        (sent,) = messages.response(Found([hit], ("semantic",), 9), shard=1).hits
        assert list(sent.sentence_scores) == [0.5, -0.25]


def test_remembered_messages_follow_a_new_title_and_are_bounded() -> None:
    messages = HitMessages(remembered=2)
    titles = [
        messages.response(Found([Hit(number, CHUNK, title, None, 1.0)], (), 0), shard=0).hits[0].chunk.title
        for number, title in [(1, "old"), (1, "new"), (2, "b"), (3, "c"), (1, "new"), (1, "old")]
    ]
    assert titles == ["old", "new", "b", "c", "new", "old"]


def test_chunks_come_back_as_they_were_sent() -> None:
    vector = np.arange(1, 5, dtype="<f4")
    sent = message(Hit(5, CHUNK, "Title", None, None)).chunk
    sent.vector = vector.tobytes()
    change = to_change(pb.UpsertChunksRequest(chunks=[sent], model_revision="m"))
    (got,) = change.batch.chunks
    assert (got.chunk_id, got.text, got.language) == (CHUNK.chunk_id, CHUNK.text, CHUNK.language)
    assert got.start_time == pytest.approx(CHUNK.start_time, abs=1e-9)
    assert got.marks == (pytest.approx(CHUNK.marks[0]), pytest.approx(CHUNK.marks[1]))
    assert np.array_equal(change.batch.vectors, [vector])
    assert (change.titles, change.batch.model_revision) == ({"vid_a": "Title"}, "m")


def test_wrong_messages_are_refused_by_field() -> None:
    good = pb.Chunk(chunk_id="v/0/0", video_id="v", vector=bytes(16))
    cases = {
        "chunks.vector": [pb.Chunk(chunk_id="v/0/0", video_id="v", vector=b"12345")],
        "chunks.video_id": [pb.Chunk(chunk_id="v/0/0", video_id="w", vector=bytes(16))],
    }
    cases_of_vector = [
        [pb.Chunk(chunk_id="v/0/0", video_id="v")],
        [good, pb.Chunk(chunk_id="v/0/1", video_id="v", vector=bytes(8))],
    ]
    for field, chunks in [*cases.items(), *(("chunks.vector", chunks) for chunks in cases_of_vector)]:
        with pytest.raises(InvalidArgument) as refused:
            to_change(pb.UpsertChunksRequest(chunks=chunks))
        assert refused.value.field == field
    with pytest.raises(InvalidArgument):
        to_query(pb.SearchShardRequest(vector=b"123", k=1))
