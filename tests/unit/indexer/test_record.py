import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.internal.v1 import shard_service_pb2 as pb
from services.indexer.chunks import Chunk
from services.indexer.record import chunk_id_of, decode, encode, text_of

CHUNK = Chunk(
    "vid_a/00001/0002", "Ä text. And more.", 330.123456789, 359.5, ((0, 330.123456789), (8, 341.25)), "de", b"ab", "Ann"
)


def test_a_record_is_the_message_without_title_and_vectors() -> None:
    message = pb.Chunk.FromString(encode(CHUNK))
    assert (message.chunk_id, message.video_id, message.text) == (CHUNK.chunk_id, "vid_a", CHUNK.text)
    assert (message.language, message.speaker) == ("de", "Ann")
    assert (message.start_offset.seconds, message.start_offset.nanos) == (330, 123456789)
    assert (message.title, message.vector, message.sentence_vectors) == ("", b"", b"")


def test_times_of_zero_are_there() -> None:
    message = pb.Chunk.FromString(encode(Chunk("v/0/0", "x", 0.0, 0.0, ((0, 0.0),))))
    assert message.HasField("start_offset")
    assert message.HasField("end_offset")
    assert message.sentence_marks[0].HasField("start_offset")


@settings(max_examples=50)
@given(
    chunk_id=st.tuples(st.text("aä京", min_size=1, max_size=90), st.just("00000"), st.just("0001")),
    text=st.text(max_size=200),
    times=st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)),
    marks=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**6)), max_size=4),
    speaker=st.text(max_size=5),
)
def test_a_chunk_comes_back_to_the_millisecond(
    chunk_id: tuple[str, ...],
    text: str,
    times: tuple[int, int],
    marks: list[tuple[int, int]],
    speaker: str,
) -> None:
    start, length = times
    chunk = Chunk(
        "/".join(chunk_id),
        text,
        start / 1000,
        (start + length) / 1000,
        tuple((offset, at / 1000) for offset, at in marks),
        "en",
        speaker=speaker,
    )
    record = encode(chunk)
    again = decode(record)
    assert (again.start_time, again.end_time) == pytest.approx((chunk.start_time, chunk.end_time), abs=1e-8)
    assert [offset for offset, _ in again.marks] == [offset for offset, _ in chunk.marks]
    assert (again.chunk_id, again.text, again.speaker) == (chunk.chunk_id, chunk.text, speaker)
    assert encode(again) == record  # so what was read back counts as the same chunk
    assert chunk_id_of(record) == chunk.chunk_id
    assert text_of(record) == text


def test_the_id_of_a_long_name_is_read_too() -> None:
    long = "v" * 400 + "/00000/0001"
    assert chunk_id_of(encode(Chunk(long, "x", 0.0, 1.0))) == long


def test_sentence_vectors_are_put_back() -> None:
    assert decode(encode(CHUNK), b"ab") == CHUNK


def test_rubbish_is_not_a_record() -> None:
    with pytest.raises(Exception, match=r"parsing|Error"):
        decode(b"\xff\xff\xff")
