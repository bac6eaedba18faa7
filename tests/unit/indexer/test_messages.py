from dataclasses import replace as changed

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import InvalidArgument
from services.common.slots import bitmap
from services.indexer.chunks import Chunk, Filter, Found, Hit, VideoInfo
from services.indexer.messages import MAX_BATCH, search_response, state_response, to_change, to_queries, to_query
from services.indexer.record import encode
from services.indexer.replica import Replica
from tests.unit.indexer.builders import MODEL, replace
from tests.unit.indexer.replicas import RunningReplica

CHUNK = Chunk("vid_a/00001/0002", "Ä text. And more.", 330.123456789, 359.5, ((0, 330.123456789), (8, 341.25)), "de",
              speaker="Ann")  # fmt: skip


def hit(semantic: float | None = 0.25, said: float | None = None, sentences: tuple[float, ...] = ()) -> Hit:
    return Hit(5, encode(CHUNK), "Title", semantic, said, sentences)


def response(
    replica: Replica, *hits: Hit, min_sequence: int = 0, ids_only: bool = False, columns: bool = False
) -> pb.SearchShardResponse:
    found = Found(list(hits), ("semantic",), 9, MODEL)
    request = pb.SearchShardRequest(min_sequence=min_sequence, ids_only=ids_only, columns=columns)
    return search_response(found, replica.place, request, lag=replica.lag, version="1f-2")


@pytest.fixture
def replica(running: RunningReplica) -> Replica:
    return running.replica


async def test_a_hit_carries_all_of_its_chunk_and_no_vector(replica: Replica) -> None:
    sent = response(replica, hit()).hits[0].chunk
    assert (sent.chunk_id, sent.video_id, sent.text) == (CHUNK.chunk_id, "vid_a", CHUNK.text)
    assert (sent.title, sent.language, sent.speaker) == ("Title", "de", "Ann")
    assert (sent.vector, sent.sentence_vectors) == (b"", b"")
    assert (sent.start_offset.seconds, sent.start_offset.nanos) == (330, 123456789)
    assert [(mark.char_offset, mark.start_offset.ToTimedelta().total_seconds()) for mark in sent.sentence_marks] == [
        (0, pytest.approx(330.123457)),
        (8, 341.25),
    ]


async def test_a_score_of_a_leg_that_did_not_find_it_is_unset(replica: Replica) -> None:
    semantic, said = response(replica, hit(0.0, None), hit(None, 0.0)).hits
    assert (semantic.HasField("semantic_score"), semantic.HasField("keyword_score")) == (True, False)
    assert (said.HasField("semantic_score"), said.HasField("keyword_score")) == (False, True)


async def test_sentence_scores_are_sent(replica: Replica) -> None:
    assert list(response(replica, hit(sentences=(0.5, -0.25))).hits[0].sentence_scores) == [0.5, -0.25]


async def test_ids_alone_are_the_id_and_the_scores(replica: Replica) -> None:
    (sent,) = response(replica, hit(0.25, 2.0), ids_only=True).hits
    assert sent.chunk == pb.Chunk(chunk_id=CHUNK.chunk_id)
    assert (sent.semantic_score, sent.keyword_score) == (0.25, 2.0)


async def test_columns_hold_what_the_hits_do(replica: Replica) -> None:
    hits = [hit(0.25, None, (0.5, -0.25)), hit(None, 2.0), hit(0.0, 0.0)]
    one_by_one, sent = response(replica, *hits), response(replica, *hits, columns=True)
    assert (len(one_by_one.hits), one_by_one.HasField("columns"), len(sent.hits)) == (3, False, 0)
    columns = sent.columns
    assert list(columns.chunk_ids) == [CHUNK.chunk_id] * 3
    assert [pb.Chunk.FromString(chunk) for chunk in columns.chunks] == [sent.chunk for sent in one_by_one.hits]
    assert numbers(columns.semantic_scores) == [0.25, None, 0.0]
    assert numbers(columns.keyword_scores) == [None, 2.0, 0.0]
    assert numbers(columns.best_sentence_scores) == [0.5, None, None]
    assert [numbers(scores) for scores in columns.sentence_scores] == [[0.5, -0.25], [], []]


async def test_columns_of_ids_alone_have_no_chunks(replica: Replica) -> None:
    columns = response(replica, hit(0.25, 2.0), ids_only=True, columns=True).columns
    assert (list(columns.chunk_ids), list(columns.chunks)) == ([CHUNK.chunk_id], [])
    assert (numbers(columns.semantic_scores), numbers(columns.keyword_scores)) == ([0.25], [2.0])


async def test_columns_of_nothing_found_are_empty(replica: Replica) -> None:
    sent = response(replica, columns=True)
    assert sent.HasField("columns")
    assert sent.columns == pb.HitColumns()


def numbers(column: bytes) -> list[float | None]:
    """A column's numbers, None for one that is not there."""
    return [None if np.isnan(number) else float(number) for number in np.frombuffer(column, "<f4")]


async def test_an_answer_says_whose_it_is_and_how_far(replica: Replica) -> None:
    answer = response(replica, min_sequence=9)
    assert (answer.shard, answer.replica, answer.model_revision, answer.version) == (1, 2, MODEL, "1f-2")
    assert (answer.applied_sequence, list(answer.legs), answer.min_sequence_reached) == (9, ["semantic"], True)
    assert not response(replica, min_sequence=10).min_sequence_reached


def timestamp(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


def test_a_query_has_every_field() -> None:
    request = pb.SearchShardRequest(
        vector=np.arange(1, 5, dtype="<f4").tobytes(),
        model_revision="m",
        text="apple",
        k=7,
        slots=bitmap({0, 9, 255}),
        ids_only=True,
        filter=pb.ChunkFilter(
            video_ids=["vid_a", "vid_b", "vid_a"],
            language="de",
            collections=["garden"],
            speakers=["Ann", "Bob"],
            tags=["red", "green"],
            uploaded_since=timestamp(1.5),
            uploaded_before=timestamp(2e9),
        ),
    )
    request.filter.min_duration.FromMilliseconds(1500)
    request.filter.max_duration.FromSeconds(3600)
    query = to_query(request)
    assert query.vector is not None
    assert query.vector.tolist() == [1, 2, 3, 4]
    assert (query.model_revision, query.text, query.k, query.ids_only) == ("m", "apple", 7, True)
    assert query.slots == {0, 9, 255}
    assert query.filter == Filter(
        video_ids=frozenset({"vid_a", "vid_b"}),
        language="de",
        collections=frozenset({"garden"}),
        speakers=frozenset({"Ann", "Bob"}),
        tags=frozenset({"red", "green"}),
        uploaded_since=1.5,
        uploaded_before=2e9,
        min_duration=1.5,
        max_duration=3600.0,
    )


def test_a_query_without_fields_restricts_nothing() -> None:
    query = to_query(pb.SearchShardRequest(text="apple", k=1))
    assert (query.vector, query.slots, query.filter.passes_all, query.ids_only) == (None, None, True, False)
    assert to_query(pb.SearchShardRequest(text="x", k=1, filter=pb.ChunkFilter())).filter.passes_all


def test_a_bound_of_zero_is_a_bound() -> None:
    request = pb.SearchShardRequest(text="x", k=1)
    request.filter.uploaded_before.SetInParent()
    request.filter.max_duration.SetInParent()
    assert to_query(request).filter == Filter(uploaded_before=0.0, max_duration=0.0)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SearchShardRequest(vector=b"123", k=1), "vector"),
        (pb.SearchShardRequest(text="x", k=1, slots=b"123"), "slots"),
        (pb.SearchShardRequest(text="x", k=1, slots=bytes(33)), "slots"),
        (
            pb.SearchShardRequest(text="x", k=1, filter=pb.ChunkFilter(video_ids=[str(n) for n in range(100_001)])),
            "filter.video_ids",
        ),
    ],
    ids=["vector", "short slots", "long slots", "ids"],
)
def test_wrong_queries_are_refused_by_field(request_: pb.SearchShardRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        to_query(request_)
    assert refused.value.field == field


def test_a_batch_has_one_to_many_searches() -> None:
    one = pb.SearchShardRequest(text="x", k=1)
    assert len(to_queries(pb.SearchShardBatchRequest(searches=[one] * MAX_BATCH))) == MAX_BATCH
    for wrong in ([], [one] * (MAX_BATCH + 1), [one, pb.SearchShardRequest(vector=b"1", k=1)]):
        with pytest.raises(InvalidArgument):
            to_queries(pb.SearchShardBatchRequest(searches=wrong))


async def test_chunks_come_back_as_they_were_sent(replica: Replica) -> None:
    vector = np.arange(1, 5, dtype="<f4")
    sent = response(replica, hit()).hits[0].chunk
    sent.vector, sent.sentence_vectors = vector.tobytes(), b"12345678"
    change = to_change(pb.UpsertChunksRequest(chunks=[sent], model_revision="m"))
    (got,) = change.batch.chunks
    assert got == changed(
        CHUNK,
        sentence_vectors=b"12345678",
        start_time=pytest.approx(CHUNK.start_time, abs=1e-9),
        marks=(pytest.approx(CHUNK.marks[0]), pytest.approx(CHUNK.marks[1])),
    )
    assert np.array_equal(change.batch.vectors, [vector])
    assert (change.infos, change.batch.model_revision) == ({"vid_a": VideoInfo(title="Title")}, "m")


def test_what_is_said_of_a_video_goes_with_its_chunks() -> None:
    video = pb.IndexedVideo(video_id="v", title="New", collection="garden", tags=["red"], uploaded_at=timestamp(7.25))
    video.duration.FromMilliseconds(90_500)
    chunks = [pb.Chunk(chunk_id=f"{name}/0/0", video_id=name, title="Old", vector=bytes(16)) for name in ("v", "w")]
    assert to_change(pb.UpsertChunksRequest(chunks=chunks, videos=[video])).infos == {
        "v": VideoInfo("New", "garden", ("red",), 7.25, 90.5),
        "w": VideoInfo("Old"),
    }
    video.ClearField("duration")
    assert to_change(pb.UpsertChunksRequest(chunks=chunks, videos=[video])).infos["v"].duration is None


def test_no_chunks_are_fine() -> None:
    assert to_change(pb.UpsertChunksRequest()).batch.chunks == []


@pytest.mark.parametrize(
    ("chunks", "field"),
    [
        ([pb.Chunk(chunk_id="v/0/0", video_id="v", vector=b"12345")], "chunks.vector"),
        ([pb.Chunk(chunk_id="v/0/0", video_id="v")], "chunks.vector"),
        ([pb.Chunk(chunk_id="v/0/0", video_id="w", vector=bytes(16))], "chunks.video_id"),
        (
            [
                pb.Chunk(chunk_id="v/0/0", video_id="v", vector=bytes(16)),
                pb.Chunk(chunk_id="v/0/1", video_id="v", vector=bytes(8)),
            ],
            "chunks.vector",
        ),
    ],
    ids=["5 bytes", "none", "video", "lengths"],
)
def test_wrong_chunks_are_refused_by_field(chunks: list[pb.Chunk], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        to_change(pb.UpsertChunksRequest(chunks=chunks))
    assert refused.value.field == field


async def test_a_replica_says_all_of_itself(running: RunningReplica) -> None:
    replica = running.replica
    replica.hold(frozenset({3, 200}))
    await replica.apply([replace("vid_a", "apple", "pear")])
    await replica.advance(12)
    await replica.snapshot()
    await replica.apply([replace("vid_a", "apple"), replace("vid_b", "plum")])
    replica.ready, replica.lag, replica.rebuilds, replica.rebuild_asked = True, 4, 2, True
    replica.slot_table_version, replica.shards_total, replica.repaired = 8, 16, ["01a: gone"]
    state = state_response(replica, resident_bytes=77)
    assert (state.shard, state.replica, state.shards_total, state.slot_table_version) == (1, 2, 16, 8)
    assert (state.chunk_count, state.video_count, state.model_revision) == (2, 2, MODEL)
    assert (state.applied_sequence, state.snapshot_sequence, state.lag, state.ready) == (12, 12, 4, True)
    assert (state.slots, state.origin, state.rebuilds, state.rebuilding) == (bitmap({3, 200}), "empty", 2, True)
    assert (list(state.repaired), state.resident_bytes, state.search_threads) == (["01a: gone"], 77, 2)
    segment, head = state.segments
    assert (segment.kind, segment.live, segment.deleted) == ("flat", 1, 1)
    assert segment.bytes > 0
    assert (head.segment_id, head.kind, head.live, head.deleted, head.bytes) == ("head", "head", 1, 0, 0)
