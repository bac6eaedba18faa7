"""The embedder as a service: real gRPC, real events and documents, the real model."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import embedder_service_pb2 as pb
from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
from services.common.ids import new_video_id
from services.common.objects import transcript_key
from services.common.rpc import connect
from services.common.runner import Service, serve
from services.common.settings import CommonSettings
from services.common.transcript import Segment, SliceTranscript, Word
from services.common.videos.model import SliceState, Source
from services.embedder.app import build
from services.embedder.hashing import HashEmbeddingModel
from services.embedder.model import TextKind
from services.embedder.settings import Settings
from tests.support import eventually, mesh
from tests.support.mesh import Backbone

pytestmark = pytest.mark.timeout(600)

SERVICE = "earmark.internal.v1.EmbedderService"
QUERY, PASSAGE = pb.TEXT_KIND_QUERY, pb.TEXT_KIND_PASSAGE


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """The embedder in this process, from before it has its model."""
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def build_it(settings: Settings, stack: AsyncExitStack) -> Service:
        service = await build(settings, stack)
        service.on_serving = lambda port, _: listening.set_result(port)
        return service

    task = asyncio.create_task(serve("embedder", settings, build_it, stop=stop))
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        async with connect(f"127.0.0.1:{await listening}") as channel:
            yield channel
    finally:
        stop.set()
        assert await task == 0


def settings_for(shared: CommonSettings, **more: Any) -> Settings:
    common = shared.model_dump() | {"grpc_port": 0, "metrics_port": 0}
    return Settings(**(common | more))


async def is_serving(channel: grpc.aio.Channel) -> bool:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture(scope="session")
def embedding_cache() -> Path:
    """Where the packaged model is exported to, once a machine."""
    default = Path(__file__).resolve().parents[2] / ".earmark" / "models"
    return Path(os.environ.get("EARMARK_TEST_MODELS_DIR") or default)


@pytest.fixture
async def hashing(backbone: Backbone) -> AsyncIterator[pb_grpc.EmbedderServiceStub]:
    """The service with the hash model."""
    async with serving(settings_for(backbone.settings, embedding_model="hash:32")) as channel:
        await eventually(lambda: is_serving(channel))
        yield pb_grpc.EmbedderServiceStub(channel)


@pytest.fixture
async def real(
    backbone: Backbone, model_paths: Any, embedding_cache: Path
) -> AsyncIterator[pb_grpc.EmbedderServiceStub]:
    """The service with the packaged model."""
    settings = settings_for(
        backbone.settings, embedding_model=model_paths.embedding, embedding_cache_dir=embedding_cache
    )
    async with serving(settings) as channel:
        await eventually(lambda: is_serving(channel), timeout=300)
        yield pb_grpc.EmbedderServiceStub(channel)


@pytest.fixture(scope="module")
async def lasting(
    lasting_settings: CommonSettings, model_paths: Any, embedding_cache: Path
) -> AsyncIterator[pb_grpc.EmbedderServiceStub]:
    """The service with the packaged model, for all tests that only call it: it takes longer to load than to ask."""
    settings = settings_for(
        lasting_settings, embedding_model=model_paths.embedding, embedding_cache_dir=embedding_cache
    )
    async with mesh.backbone(lasting_settings), serving(settings) as channel:
        await eventually(lambda: is_serving(channel), timeout=300)
        yield pb_grpc.EmbedderServiceStub(channel)


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


async def test_vectors_come_in_the_order_asked(hashing: pb_grpc.EmbedderServiceStub) -> None:
    texts = [f"text {n} " * (n % 5 + 1) for n in range(100)]
    answer = await hashing.Embed(pb.EmbedRequest(texts=texts, kind=PASSAGE))

    vectors = np.stack([np.frombuffer(vector, "<f4") for vector in answer.vectors])
    np.testing.assert_array_equal(vectors, HashEmbeddingModel(32).embed(texts, TextKind.PASSAGE))
    model = await hashing.GetModel(pb.GetModelRequest())
    assert (answer.dimension, answer.model_revision) == (32, "hash-32@1")
    assert (model.dimension, model.model_revision, model.max_tokens) == (32, "hash-32@1", 256)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (pb.EmbedRequest(kind=QUERY), "0 texts"),
        (pb.EmbedRequest(texts=["x"] * 257, kind=QUERY), "257 texts"),
        (pb.EmbedRequest(texts=["ok", "é" * 16_385], kind=QUERY), "text 1 is over"),
        (pb.EmbedRequest(texts=["x"]), "kind is missing"),
    ],
)
async def test_wrong_requests_are_refused(
    hashing: pb_grpc.EmbedderServiceStub, request_: pb.EmbedRequest, says: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=says) as refused:
        await hashing.Embed(request_)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_odd_texts_are_embedded(lasting: pb_grpc.EmbedderServiceStub) -> None:
    texts = ["", " ", "😀" * 50, "\x00\x01", "the of and", "é" * 16_384, '"quotes" AND (brackets']
    answer = await lasting.Embed(pb.EmbedRequest(texts=texts, kind=QUERY))
    vectors = np.stack([np.frombuffer(vector, "<f4") for vector in answer.vectors])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_a_question_is_nearest_to_its_answer(lasting: pb_grpc.EmbedderServiceStub) -> None:
    passages = [
        "Loosen the tensioner bolt before you take off the timing belt.",
        "Salt the water well and let the pasta cook for nine minutes.",
        "The court will now hear the arguments of the second party.",
    ]
    stored = await lasting.Embed(pb.EmbedRequest(texts=passages, kind=PASSAGE))
    asked = await lasting.Embed(pb.EmbedRequest(texts=["how long do noodles boil?"], kind=QUERY))
    scores = [float(np.frombuffer(v, "<f4") @ np.frombuffer(asked.vectors[0], "<f4")) for v in stored.vectors]
    assert scores.index(max(scores)) == 1
    assert asked.model_revision == stored.model_revision


async def test_a_query_overtakes_passages(lasting: pb_grpc.EmbedderServiceStub) -> None:
    text = "Loosen the tensioner bolt before you take off the timing belt. " * 15
    passages = asyncio.ensure_future(lasting.Embed(pb.EmbedRequest(texts=[text] * 256, kind=PASSAGE)))
    for number in range(20):
        await lasting.Embed(pb.EmbedRequest(texts=[f"question {number}"], kind=QUERY))
    assert not passages.done()
    passages.cancel()


async def test_a_full_queue_is_resource_exhausted_and_a_short_deadline_is_told(
    real: pb_grpc.EmbedderServiceStub,
) -> None:
    text = "Loosen the tensioner bolt before you take off the timing belt. " * 15
    many = pb.EmbedRequest(texts=[text] * 256, kind=PASSAGE)
    calls = [asyncio.ensure_future(real.Embed(many)) for _ in range(10)]
    try:
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert {await code_of(call) for call in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        late = real.Embed(pb.EmbedRequest(texts=["late"], kind=PASSAGE), timeout=0.2)
        assert await code_of(late) in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    finally:
        for call in calls:
            call.cancel()
    # What its callers left is not computed: the next caller does not wait for it.
    await real.Embed(pb.EmbedRequest(texts=["next"], kind=PASSAGE), timeout=30)


# ── slice.transcribed ────────────────────────────────────────────────────────────────────────────


def talk(video_id: str, slice_id: str, *, start: float, sentences: int) -> SliceTranscript:
    segments = []
    for number in range(sentences):
        at = start + number * 5.0
        said = f"This is sentence {number} of slice {slice_id} today."
        words = [Word(at + i * 0.5, at + i * 0.5 + 0.5, f" {word}", 0.9) for i, word in enumerate(said.split())]
        segments.append(Segment(at, words[-1].end, said, words))
    return SliceTranscript(video_id, slice_id, start, start + 300, "en", 0.99, "whisper-test", segments)


async def transcribed(backbone: Backbone, *transcripts: SliceTranscript) -> None:
    """Does what the slicer and the recognizer do, for a video of these slices."""
    video_id = transcripts[0].video_id
    await backbone.videos.create(video_id, title="A talk", source=Source("talk.mp4", "video/mp4", 1, "00"))
    await backbone.videos.begin_processing(video_id)
    for transcript in transcripts:
        part = transcript.slice_id
        await backbone.videos.add_slice(video_id, part, start_time=transcript.start, end_time=transcript.end)
    await backbone.videos.finish_slicing(video_id, duration=transcripts[-1].end)
    for transcript in transcripts:
        part = transcript.slice_id
        await backbone.objects.put(transcript_key(video_id, part), transcript.to_bytes())
        await backbone.videos.slice_transcribed(video_id, part, language="en", asr_model="whisper-test")


def reached(backbone: Backbone, video_id: str, state: SliceState) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return {part.state for part in (await backbone.videos.get(video_id)).slices} == {state}

    return ask


async def test_a_transcribed_slice_gets_chunks_and_moves_on(
    backbone: Backbone, real: pb_grpc.EmbedderServiceStub
) -> None:
    video_id = new_video_id()
    first = talk(video_id, "00000", start=0, sentences=24)
    second = talk(video_id, "00001", start=300, sentences=3)

    await transcribed(backbone, first, second)
    await eventually(reached(backbone, video_id, SliceState.EMBEDDED), timeout=60)

    chunks = await backbone.videos.chunks(video_id)
    assert [chunk.chunk_id for chunk in chunks] == [
        *(f"{video_id}/00000/{number:04d}" for number in range(4)),
        f"{video_id}/00001/0000",
    ]
    said = [segment.text for segment in (*first.segments, *second.segments)]
    assert " ".join(chunk.text for chunk in chunks) == " ".join(said)
    assert chunks[4].start_time == 300.0
    for chunk in chunks:
        assert chunk.language == "en"
        starts = [chunk.text[offset:].split()[:2] for offset, _ in chunk.sentence_marks]
        assert starts == [["This", "is"]] * chunk.text.count("This is")
        assert [seconds % 5 for _, seconds in chunk.sentence_marks] == [0.0] * len(starts)
    answer = await real.Embed(pb.EmbedRequest(texts=[chunk.text for chunk in chunks], kind=PASSAGE))
    for chunk, vector in zip(chunks, answer.vectors, strict=True):
        np.testing.assert_allclose(chunk.embedding, np.frombuffer(vector, "<f4"), atol=1e-5)
    assert (await backbone.videos.get(video_id)).metadata.embedding_model == answer.model_revision


async def test_silence_moves_on_without_chunks(backbone: Backbone, hashing: pb_grpc.EmbedderServiceStub) -> None:
    video_id = new_video_id()
    await transcribed(backbone, talk(video_id, "00000", start=0, sentences=0))
    await eventually(reached(backbone, video_id, SliceState.EMBEDDED))
    assert await backbone.videos.chunks(video_id) == []


async def test_a_slice_with_more_texts_than_may_wait_is_embedded_with_its_speakers(
    backbone: Backbone, hashing: pb_grpc.EmbedderServiceStub
) -> None:
    video_id = new_video_id()
    segments = [Segment(n / 10, n / 10 + 0.1, f"Word {n}.", speaker="Ann" if n < 100 else "Bob") for n in range(3000)]
    await transcribed(backbone, SliceTranscript(video_id, "00000", 0.0, 300.0, "en", 1.0, "imported", segments))
    await eventually(reached(backbone, video_id, SliceState.EMBEDDED), timeout=30)
    chunks = await backbone.videos.chunks(video_id)
    assert sum(len(chunk.sentence_marks) for chunk in chunks) == 3000
    assert [chunk.speaker for chunk in chunks if chunk.start_time < 10] == ["Ann"]
    assert {chunk.speaker for chunk in chunks if chunk.start_time >= 10} == {"Bob"}


async def test_an_event_delivered_again_changes_nothing(
    backbone: Backbone, hashing: pb_grpc.EmbedderServiceStub
) -> None:
    video_id, other = new_video_id(), new_video_id()
    await transcribed(backbone, talk(video_id, "00000", start=0, sentences=12))
    await eventually(reached(backbone, video_id, SliceState.EMBEDDED))
    before = await backbone.videos.get(video_id)

    # The same event again, under another id, so that the stream takes it.
    message = await backbone.bus.js.get_last_msg("EARMARK_EVENTS", f"earmark.v1.slice.transcribed.*.{video_id}")
    assert message.data is not None
    await backbone.bus.js.publish(str(message.subject), message.data)
    # The embedder takes events in order: when a later one is done, so is this.
    await transcribed(backbone, talk(other, "00000", start=0, sentences=1))
    await eventually(reached(backbone, other, SliceState.EMBEDDED))
    await eventually(lambda: settled(backbone))

    after = await backbone.videos.get(video_id)
    assert after.revision == before.revision
    assert len(await backbone.videos.chunks(video_id)) == 2


async def settled(backbone: Backbone) -> bool:
    backlog = await backbone.bus.backlog()
    return sum(count for name, count in backlog.items() if name.partition("-")[0] == "embedder") == 0


async def test_a_transcript_that_is_none_goes_to_the_dead_letters(
    backbone: Backbone, hashing: pb_grpc.EmbedderServiceStub
) -> None:
    video_id = new_video_id()
    transcript = talk(video_id, "00000", start=0, sentences=1)
    await backbone.objects.put(transcript_key(video_id, "00000"), b"")
    await backbone.videos.create(video_id, title="A talk", source=Source("talk.mp4", "video/mp4", 1, "00"))
    await backbone.videos.begin_processing(video_id)
    await backbone.videos.add_slice(video_id, "00000", start_time=0, end_time=transcript.end)
    await backbone.videos.slice_transcribed(video_id, "00000", language="en", asr_model="whisper-test")

    async def dead() -> bool:
        return (await backbone.bus.js.stream_info("EARMARK_DEAD")).state.messages == 1

    await eventually(dead)
    await eventually(lambda: settled(backbone))


async def test_slices_wait_for_the_model_rather_than_fail(
    backbone: Backbone, model_paths: Any, embedding_cache: Path
) -> None:
    video_id = new_video_id()
    await transcribed(backbone, talk(video_id, "00000", start=0, sentences=2))
    settings = settings_for(
        backbone.settings, embedding_model=model_paths.embedding, embedding_cache_dir=embedding_cache
    )
    async with serving(settings) as channel:
        stub = pb_grpc.EmbedderServiceStub(channel)
        # It listens before it has its model, and says so.
        assert not await is_serving(channel)
        assert await code_of(stub.GetModel(pb.GetModelRequest())) == grpc.StatusCode.UNAVAILABLE
        assert await code_of(stub.Embed(pb.EmbedRequest(texts=["x"], kind=QUERY))) == grpc.StatusCode.UNAVAILABLE
        await eventually(reached(backbone, video_id, SliceState.EMBEDDED), timeout=300)
        consumer = await backbone.bus.js.consumer_info("EARMARK_EVENTS", "embedder")
        assert consumer.num_redelivered == 0
