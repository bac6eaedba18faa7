"""Slicer and recognizer on real NATS, MongoDB and object store; scripted recognizers in real child processes."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from earmark.events.v1 import events_pb2 as events
from earmark.internal.v1 import transcriber_service_pb2 as pb
from earmark.internal.v1 import transcriber_service_pb2_grpc as pb_grpc
from services.common.events import topology
from services.common.events.consumer import Consumer
from services.common.ids import new_video_id
from services.common.objects import media_key, slice_audio_key, transcript_key, video_prefix
from services.common.rpc import connect, from_rpc
from services.common.speech import SpeechOptions
from services.common.transcript import SliceTranscript
from services.common.videos.model import SliceState, Source, Video, VideoStatus
from services.common.videos.sweeper import Sweeper
from services.transcriber.app import make_fetcher, make_slicer
from services.transcriber.consumer import RecognizerHandler, SlicerHandler
from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, to_s16, write_flac
from services.transcriber.settings import Settings
from services.transcriber.turns import Turns
from services.transcriber.worker import WorkerSpec
from services.transcriber.worker_pool import PoolLimits, WorkerPool
from tests.support import eventually, free_port
from tests.support.clips import clipped
from tests.support.long_media import repeated, write_said_at
from tests.support.media import MediaMaker, Tone, silence
from tests.support.mesh import Backbone

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "brewing-better-coffee.mp4"
SOURCE = Source(filename="talk.mp4", content_type="video/mp4", bytes=5, sha256="0" * 64)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first slices of the sample, for what does not depend on how many there are."""
    return clipped(SAMPLE, tmp_path_factory.mktemp("clip") / SAMPLE.name, seconds=40)


def transcriber_settings(backbone: Backbone, **more: Any) -> Settings:
    """Settings with slices so short that a sample has many."""
    fields = {**backbone.settings.model_dump(exclude_unset=True), "grpc_port": 0}
    short: dict[str, Any] = {"slice_seconds": 12, "first_slice_seconds": 6, "recognizer": "scripted"}
    return Settings(**{**fields, **short, "recognizer_workers": 2, **more})


@contextlib.asynccontextmanager
async def transcriber(
    backbone: Backbone, spec: WorkerSpec | None = None, limits: PoolLimits | None = None, **more: Any
) -> AsyncIterator[WorkerPool]:
    """Both roles, running in this process."""
    settings = transcriber_settings(backbone, **more)
    pool = WorkerPool(spec or WorkerSpec("scripted"), limits or PoolLimits(workers=2))
    slicer = SlicerHandler(
        videos=backbone.videos,
        objects=backbone.objects,
        slicer=make_slicer(settings),
        fetcher=make_fetcher(settings, backbone.objects),
        turns=Turns(settings.slicer_concurrency),
        max_attempts=settings.slicer_max_attempts,
        fetch_attempts=settings.fetch_max_attempts,
    )
    recognizer = RecognizerHandler(
        videos=backbone.videos, objects=backbone.objects, pool=pool, max_attempts=settings.recognizer_max_attempts
    )
    consumers = [
        Consumer(backbone.bus, "slicer", slicer, concurrency=settings.slicer_open_videos),
        Consumer(backbone.bus, "recognizer", recognizer, concurrency=pool.places),
    ]
    tasks = [asyncio.create_task(pool.run()), *(asyncio.create_task(consumer.run()) for consumer in consumers)]
    try:
        yield pool
    finally:
        await asyncio.gather(*(consumer.stop(grace_seconds=5) for consumer in consumers))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def upload(backbone: Backbone, media: Path | bytes) -> str:
    video_id = new_video_id()
    data = media if isinstance(media, bytes) else media.read_bytes()
    await backbone.objects.put(media_key(video_id), data)
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    return video_id


def transcribed(video: Video) -> bool:
    return video.slicing_done and all(part.state is SliceState.TRANSCRIBED for part in video.slices)


async def until(backbone: Backbone, video_id: str, holds: Callable[[Video], bool], timeout: float = 60) -> Video:
    async def get() -> Video | None:
        video = await backbone.videos.get(video_id)
        return video if holds(video) else None

    video = await eventually(get, timeout=timeout)
    assert video is not None
    return video


async def transcripts(backbone: Backbone, video: Video) -> list[SliceTranscript]:
    keys = [transcript_key(video.video_id, part.slice_id) for part in video.slices]
    return [SliceTranscript.from_bytes(await backbone.objects.get(key)) for key in keys]


def text_of(found: list[SliceTranscript]) -> list[tuple[str, float, float, str]]:
    return [(part.slice_id, s.start, s.end, s.text) for part in found for s in part.segments]


async def dead_letter(backbone: Backbone) -> events.DeadLetter:
    async def letters() -> int:
        return (await backbone.bus.js.stream_info(topology.DEAD)).state.messages

    await eventually(letters, timeout=60)
    message = await backbone.bus.js.get_last_msg(topology.DEAD, "earmark.dead.v1.>")
    return events.DeadLetter.FromString(message.data or b"")


async def test_a_video_is_cut_and_every_slice_transcribed_in_the_clock_of_the_media(backbone: Backbone) -> None:
    async with transcriber(backbone):
        video = await until(backbone, await upload(backbone, SAMPLE), transcribed)
    assert video.status is VideoStatus.PROCESSING
    assert video.metadata.language == "en"
    assert video.metadata.asr_model == "scripted"
    assert video.duration is not None
    assert len(video.slices) >= 4
    assert [part.slice_id for part in video.slices] == [f"{n:05d}" for n in range(len(video.slices))]
    assert video.slices[0].start_time == 0
    assert video.slices[0].end_time <= 6 * 1.2 + 0.1
    for before, after in pairwise(video.slices):
        assert before.end_time <= after.start_time
    for part, found in zip(video.slices, await transcripts(backbone, video), strict=True):
        assert (found.start, found.end) == (part.start_time, part.end_time)
        assert found.segments
        assert all(part.start_time <= s.start < s.end <= part.end_time for s in found.segments)
        assert all(s.start <= w.start <= w.end <= s.end for s in found.segments for w in s.words)


@pytest.mark.slow
async def test_a_long_video_does_not_hold_a_short_one_back(backbone: Backbone, tmp_path: Path) -> None:
    """One decoder and one recognizer for all. The long video is there first, and its slices wait."""
    speech = to_s16(np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks())))
    write_flac(tmp_path / "short.flac", speech[: 7 * SAMPLE_RATE])
    write_flac(tmp_path / "long.flac", np.tile(speech, 5))
    spec = WorkerSpec("scripted", {"pause": 0.1})
    async with transcriber(backbone, spec, PoolLimits(workers=1), slicer_concurrency=1):
        long_id = await upload(backbone, tmp_path / "long.flac")
        await until(backbone, long_id, lambda video: len(video.slices) >= 8)
        short_id = await upload(backbone, tmp_path / "short.flac")
        await until(backbone, short_id, transcribed)
        meanwhile = await backbone.videos.get(long_id)
        whole = await until(backbone, long_id, transcribed, timeout=120)
    done = sum(part.state is SliceState.TRANSCRIBED for part in meanwhile.slices)
    assert len(whole.slices) >= 40
    assert done < len(whole.slices) / 2


async def test_what_the_uploader_said_reaches_the_recognizer(backbone: Backbone, talk: Path) -> None:
    video_id = new_video_id()
    await backbone.objects.put(media_key(video_id), talk.read_bytes())
    speech = SpeechOptions(language="fr", task="translate")
    async with transcriber(backbone):
        await backbone.videos.create(video_id, title="Une conférence", source=SOURCE, speech=speech)
        video = await until(backbone, video_id, transcribed)
    found = await transcripts(backbone, video)
    assert {part.language for part in found} == {"en"}
    assert video.metadata.languages == ("fr",)


async def test_every_segment_says_how_far_it_can_be_trusted(backbone: Backbone, tmp_path: Path) -> None:
    """The scripted recognizer also talks over noise; there voice activity says that nobody did."""
    speech = to_s16(np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks())))[: 10 * SAMPLE_RATE]
    noise = to_s16(np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLE_RATE).astype(np.float32))
    write_flac(tmp_path / "a.flac", np.concatenate([speech, noise]))
    async with transcriber(backbone, slice_seconds=60, first_slice_seconds=60):
        video = await until(backbone, await upload(backbone, tmp_path / "a.flac"), transcribed)
    [found] = await transcripts(backbone, video)
    assert all(s.confidence is not None and s.speech_share is not None for s in found.segments)
    over_speech = [s for s in found.segments if s.end < 9.9]
    over_noise = [s for s in found.segments if s.start > 10.1]
    assert over_speech
    assert not any(s.suspect for s in over_speech)
    assert over_noise
    assert {s.suspect for s in over_noise} == {"no_speech"}
    assert found.believed().segments == [s for s in found.segments if not s.suspect]


async def test_a_second_delivery_changes_nothing(backbone: Backbone, talk: Path) -> None:
    async with transcriber(backbone):
        video = await until(backbone, await upload(backbone, talk), transcribed)
        before = await transcripts(backbone, video)
        for part in video.slices:
            event = events.SliceCut(video_id=video.video_id, slice_id=part.slice_id)
            await backbone.bus.js.publish(topology.subject("slice.cut", video.video_id), event.SerializeToString())
        again = events.VideoUploaded(video_id=video.video_id)
        await backbone.bus.js.publish(topology.subject("video.uploaded", video.video_id), again.SerializeToString())
        # Whatever is uploaded after them is done after them.
        await until(backbone, await upload(backbone, talk), transcribed)
        after = await backbone.videos.get(video.video_id)
    assert [(p.slice_id, p.attempts) for p in after.slices] == [(p.slice_id, 1) for p in video.slices]
    assert await transcripts(backbone, after) == before


async def test_silence_is_ready_and_says_that_there_is_no_speech(backbone: Backbone, media: MediaMaker) -> None:
    async with transcriber(backbone):
        video_id = await upload(backbone, media.mp4([silence(20)]))
        video = await until(backbone, video_id, lambda video: video.status is VideoStatus.READY)
    assert video.slices == []
    assert video.duration == pytest.approx(20, abs=0.2)
    assert [warning.reason for warning in video.warnings] == ["NO_SPEECH"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "EMPTY_FILE"), (b"Dear diary, this is text.\n" * 40, "NOT_MEDIA")],
)
async def test_what_is_no_media_is_rejected_with_a_reason(backbone: Backbone, data: bytes, reason: str) -> None:
    async with transcriber(backbone):
        video_id = await upload(backbone, data)
        letter = await dead_letter(backbone)
    assert letter.consumer == "slicer"
    assert letter.reason == reason
    assert letter.message.endswith(".")
    assert letter.subject.endswith(video_id)


async def test_a_video_without_sound_is_rejected(backbone: Backbone, media: MediaMaker) -> None:
    async with transcriber(backbone):
        await upload(backbone, media.silent_video(1))
        assert (await dead_letter(backbone)).reason == "NO_AUDIO_TRACK"


async def test_media_that_vanished_is_rejected(backbone: Backbone) -> None:
    async with transcriber(backbone):
        await backbone.videos.create(new_video_id(), title="Gone", source=SOURCE)
        assert (await dead_letter(backbone)).reason == "MEDIA_MISSING"


async def test_a_url_inside_the_network_is_refused(backbone: Backbone) -> None:
    async with transcriber(backbone):
        await backbone.videos.create(new_video_id(), title="Inside", url="http://127.0.0.1:9/secret.mp4")
        assert (await dead_letter(backbone)).reason == "ADDRESS_REFUSED"


async def test_a_video_is_fetched_by_its_url(backbone: Backbone, talk: Path) -> None:
    data = talk.read_bytes()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with transcriber(backbone, allow_private_urls=True):
            video_id = new_video_id()
            await backbone.videos.create(video_id, title="", url=f"http://127.0.0.1:{port}/talks/coffee.mp4?x=1")
            video = await until(backbone, video_id, transcribed)
    assert video.source is not None
    assert (video.source.filename, video.source.bytes) == ("coffee.mp4", len(data))
    assert await backbone.objects.get(media_key(video_id)) == data


@pytest.mark.parametrize(("stalls", "ends"), [(1, ""), (100, "FETCH_STALLED")])
async def test_a_url_that_stalls_is_tried_again_and_in_the_end_given_up(
    backbone: Backbone, stalls: int, ends: str, talk: Path
) -> None:
    data = talk.read_bytes()
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        part = data[: len(data) // 2] if asked <= stalls else data
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(data) + part)
        with contextlib.suppress(ConnectionError):
            await reader.read()  # until the other side has had enough
        writer.close()

    video_id = new_video_id()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with transcriber(backbone, allow_private_urls=True, fetch_stall_seconds=0.5, fetch_max_attempts=2):
            await backbone.videos.create(video_id, title="", url=f"http://127.0.0.1:{port}/coffee.mp4")
            if ends:
                letter = await dead_letter(backbone)
                assert (letter.reason, letter.consumer, asked) == (ends, "slicer", 2)
                assert "sent nothing for 0.5 s" in letter.message
                assert await backbone.objects.list(video_prefix(video_id)) == []
            else:
                video = await until(backbone, video_id, transcribed)
                assert video.source is not None
                assert (video.source.bytes, asked) == (len(data), 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_day_of_silence_is_ready_in_the_memory_of_an_hour(backbone: Backbone, tmp_path: Path) -> None:
    peaks = []
    async with transcriber(backbone, slice_seconds=300, first_slice_seconds=60):
        for hours in (1, 24):
            # Not MP4, whose index FFmpeg holds whole: some 100 MiB for a day.
            minute = write_said_at(tmp_path / "minute.mkv", np.zeros(0, np.int16), [], seconds=60)
            media = repeated(minute, tmp_path / f"{hours}.mkv", times=60 * hours)
            with watching_decoders() as peak:
                video_id = await upload(backbone, media)
                video = await until(backbone, video_id, lambda video: video.status is VideoStatus.READY, timeout=1500)
            assert video.slices == []
            assert video.duration == pytest.approx(3600 * hours, rel=0.001)
            assert [warning.reason for warning in video.warnings] == ["NO_SPEECH"]
            peaks.append(peak[0])
    assert 20 < peaks[0] < 200
    assert peaks[1] < peaks[0] + 16


@contextlib.contextmanager
def watching_decoders() -> Iterator[list[float]]:
    """Gives the most memory (MiB) that a decoder of ours has had."""
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for folder in Path("/proc").iterdir():
                with contextlib.suppress(OSError, StopIteration):
                    if folder.name.isdecimal() and b"transcriber.decoder" in (folder / "cmdline").read_bytes():
                        lines = (folder / "status").read_text().splitlines()
                        kib = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
                        peak[0] = max(peak[0], kib / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


async def test_a_worker_that_dies_costs_one_attempt_and_in_the_end_the_slice(backbone: Backbone, talk: Path) -> None:
    # Dies on anything up to 7 s: on the first slice, and on no other.
    spec = WorkerSpec("scripted", {"misbehave": {"7.3": "crash"}})
    async with transcriber(backbone, spec, recognizer_max_attempts=2):
        video_id = await upload(backbone, talk)
        letter = await dead_letter(backbone)
        rest = await until(
            backbone, video_id, lambda v: v.slicing_done and sum(s.state == "cut" for s in v.slices) == 1
        )
    assert letter.reason == "RECOGNIZER_FAILED"
    assert events.SliceCut.FromString(letter.payload).slice_id == "00000"
    assert [part.attempts for part in rest.slices] == [2, *(1 for _ in rest.slices[1:])]


async def test_a_deleted_video_leaves_nothing_behind(backbone: Backbone, talk: Path) -> None:
    video_id = await upload(backbone, talk)
    async with transcriber(
        backbone,
        WorkerSpec("scripted", {"misbehave": {"1000": "hang"}}),
        PoolLimits(workers=2, base_seconds=2, seconds_per_second=0.01),
    ):
        await until(backbone, video_id, lambda video: len(video.slices) >= 1)
        await backbone.videos.mark_deleting(video_id)
        await backbone.objects.delete_prefix(video_prefix(video_id))
        # Both handlers notice: the next video is begun only after this one was let go.
        other = await upload(backbone, talk)
        await until(backbone, other, lambda video: video.slicing_done)
    assert await backbone.objects.list(video_prefix(video_id)) == []


@contextlib.asynccontextmanager
async def process(backbone: Backbone, **more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The service as it is run, on a port of its own."""
    settings, port = backbone.settings, free_port()
    environment = {
        "EARMARK_NATS_URL": settings.nats_url,
        "EARMARK_MONGO_URL": settings.mongo_url.get_secret_value(),
        "EARMARK_MONGO_DATABASE": settings.mongo_database,
        "EARMARK_OBJECT_STORE_URL": settings.object_store_url,
        "EARMARK_GRPC_PORT": str(port),
        "EARMARK_DRAIN_SECONDS": "0",
        "EARMARK_RECOGNIZER": "scripted",
        "EARMARK_RECOGNIZER_WORKERS": "1",
        "EARMARK_RECOGNIZER_QUEUE": "0",
        "EARMARK_SLICE_SECONDS": "12",
        "EARMARK_FIRST_SLICE_SECONDS": "6",
        **more,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.transcriber",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield child, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def test_kill_9_in_the_middle_and_the_result_is_that_of_an_undisturbed_run(backbone: Backbone) -> None:
    async with transcriber(backbone):
        calm = await until(backbone, await upload(backbone, SAMPLE), transcribed)
    expected = text_of(await transcripts(backbone, calm))
    video_id = await upload(backbone, SAMPLE)
    async with process(backbone) as (child, _):
        await until(backbone, video_id, lambda video: len(video.slices) >= 1)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        halfway = await backbone.videos.get(video_id)
    # What the killed process owed when it died is the sweeper's to publish, which the gateway runs in a mesh.
    sweeper = Sweeper(backbone.videos, backbone.bus, every_seconds=1, owed_seconds=1, stalled_seconds=600)
    sweeping = asyncio.create_task(sweeper.run())
    async with process(backbone) as (child, _):
        # What the killed process held comes back after its ack wait of 15 s, and the model is loaded anew.
        video = await until(backbone, video_id, transcribed, timeout=100)
        child.terminate()
        assert await asyncio.wait_for(child.wait(), timeout=30) == 0
    sweeping.cancel()
    assert [(s.start_time, s.end_time) for s in video.slices] == [(s.start_time, s.end_time) for s in calm.slices]
    assert text_of(await transcripts(backbone, video)) == expected
    assert len(halfway.slices) <= len(video.slices)


async def test_transcribe_over_grpc(backbone: Backbone, talk: Path) -> None:
    async with transcriber(backbone):
        video = await until(backbone, await upload(backbone, talk), transcribed)
    stored = text_of(await transcripts(backbone, video))
    async with process(backbone) as (_, port), connect(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.TranscriberServiceStub(channel)

        async def ask(request: pb.TranscribeRequest) -> list[pb.TranscribeResponse]:
            return [response async for response in stub.Transcribe(request, timeout=60, wait_for_ready=True)]

        async def ready() -> bool:
            key = slice_audio_key(video.video_id, "00000")
            try:
                return bool(await ask(pb.TranscribeRequest(slice_key=key)))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False

        await eventually(ready, timeout=30)
        whole = await ask(pb.TranscribeRequest(media_uri=media_key(video.video_id)))
        said = [(r.segment.start_offset.ToMilliseconds(), r.segment.text) for r in whole]
        assert said == [(round(start * 1000), text) for _, start, _, text in stored]
        assert {(r.language, r.asr_model) for r in whole} == {("en", "scripted")}

        for request, code, reason in [
            (pb.TranscribeRequest(), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            (pb.TranscribeRequest(slice_key="../../etc/passwd"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            (pb.TranscribeRequest(slice_key="videos/none"), "NOT_FOUND", "OBJECT_NOT_FOUND"),
            (pb.TranscribeRequest(media_uri="http://127.0.0.1/x.mp4"), "FAILED_PRECONDITION", "ADDRESS_REFUSED"),
            (
                pb.TranscribeRequest(media_uri=transcript_key(video.video_id, "00000")),
                "INVALID_ARGUMENT",
                "NOT_MEDIA",
            ),
        ]:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(request)
            error = from_rpc(refused.value, peer="transcriber")
            assert (error.code, error.reason) == (code, reason)


async def test_media_tone_is_no_speech(backbone: Backbone, media: MediaMaker) -> None:
    async with transcriber(backbone):
        video_id = await upload(backbone, media.mp4([Tone(20, 440)]))
        video = await until(backbone, video_id, lambda video: video.status is VideoStatus.READY)
    assert video.progress.slices_known == 0
