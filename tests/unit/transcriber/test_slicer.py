"""The decoding child process: limits, problems, back-pressure, and that it never outlives its use."""

import asyncio
import json
import os
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from services.transcriber.child_process import DecoderFailed
from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, read_flac, read_note, to_s16, write_flac
from services.transcriber.problems import MediaProblem, Reason
from services.transcriber.slicer import AudioSlice, Slicer, Slicing, SlicingLimits
from services.transcriber.voice import FRAME, SPEECH, VoiceActivity, from_note
from tests.support import eventually
from tests.support.media import MediaMaker, Tone, silence

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "how-gps-finds-you.mp4"


def slicer(limits: SlicingLimits | None = None, *, spool: Path | None = None) -> Slicer:
    return Slicer(slice_seconds=20, first_slice_seconds=10, limits=limits or SlicingLimits(), spool=spool)


def child_of(slicing: Slicing) -> int:
    return slicing._process.pid


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def sliced(media: Path, **where: float) -> tuple[list[AudioSlice], list[int], Slicing]:
    found, lengths = [], []
    async with slicer().open(media, **where) as slicing:
        async for cut in slicing.slices():
            found.append(cut)
            lengths.append(len(read_flac(cut.path)))
    return found, lengths, slicing


async def test_slices_are_files_of_the_length_they_say() -> None:
    found, lengths, slicing = await sliced(SAMPLE)
    assert len(found) >= 4
    assert slicing.warnings == []
    assert [cut.index for cut in found] == list(range(len(found)))
    for cut, length in zip(found, lengths, strict=True):
        assert length == round((cut.end - cut.start) * SAMPLE_RATE)
        assert 0 < cut.speech_seconds <= cut.end - cut.start
        assert not cut.path.exists()
    assert slicing.duration == pytest.approx(found[-1].end, abs=1)


async def test_it_goes_on_where_it_was_broken_off() -> None:
    whole, _, _ = await sliced(SAMPLE)
    rest, _, _ = await sliced(SAMPLE, first_index=2, start=whole[1].end)
    assert [(c.index, c.start, c.end) for c in rest] == [(c.index, c.start, c.end) for c in whole[2:]]
    nothing, _, slicing = await sliced(SAMPLE, first_index=len(whole), start=whole[-1].end)
    assert nothing == []
    assert slicing.warnings == []


async def test_silence_has_no_slices_and_says_so(media: MediaMaker) -> None:
    found, _, slicing = await sliced(media.mp4([silence(45)]))
    assert found == []
    assert [warning.reason for warning in slicing.warnings] == [Reason.NO_SPEECH]
    assert slicing.duration == pytest.approx(45, abs=0.2)


@pytest.mark.slow
async def test_a_voice_on_one_of_eight_channels_at_192_khz_is_heard_as_if_it_were_alone(tmp_path: Path) -> None:
    spoken = to_s16(np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks()))[: 40 * SAMPLE_RATE])
    write_flac(tmp_path / "alone.flac", spoken)
    eight = np.zeros((len(spoken) * 12, 8), np.int16)
    eight[:, 3] = np.repeat(spoken, 12)
    with av.open(str(tmp_path / "eight.mkv"), "w") as out:
        stream = out.add_stream("flac", rate=192_000, layout="7.1")
        for start in range(0, len(eight), 4608):
            block = np.ascontiguousarray(eight[start : start + 4608].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="7.1")
            frame.sample_rate, frame.pts = 192_000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    alone, _, _ = await sliced(tmp_path / "alone.flac")
    found, _, slicing = await sliced(tmp_path / "eight.mkv")
    assert slicing.warnings == []
    assert slicing.duration == pytest.approx(40, abs=0.1)
    heard, there = (sum(cut.speech_seconds for cut in cuts) for cuts in (found, alone))
    assert heard == pytest.approx(there, rel=0.1)


async def test_a_problem_is_told_by_name(media: MediaMaker) -> None:
    with pytest.raises(MediaProblem) as caught:
        await sliced(media.silent_video(1))
    assert caught.value.reason == "NO_AUDIO_TRACK"
    assert "no audio track" in caught.value.message


async def test_the_spool_is_bounded(tmp_path: Path) -> None:
    limits = SlicingLimits(spool_slices=2)
    async with slicer(limits, spool=tmp_path).open(SAMPLE) as slicing, aclosing(slicing.slices()) as slices:
        await anext(slices)

        def files() -> int:
            return len(list(tmp_path.glob("*/*.flac")))

        await eventually(lambda: files() == 2)
        most = 0
        async for _ in slices:
            most = max(most, files())
    assert most <= 2
    assert list(tmp_path.iterdir()) == []


async def test_the_child_ends_with_the_block() -> None:
    async with slicer(SlicingLimits(spool_slices=1)).open(SAMPLE) as slicing:
        pid = child_of(slicing)
        async with aclosing(slicing.slices()) as slices:
            await anext(slices)
        assert runs(pid)
    assert not runs(pid)


async def test_the_child_ends_with_its_caller() -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with slicer(SlicingLimits(spool_slices=1)).open(SAMPLE) as slicing:
            started.set_result(child_of(slicing))
            async for _ in slicing.slices():
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    pid = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(pid)


async def test_a_child_that_dies_may_be_tried_again() -> None:
    async with slicer(SlicingLimits(spool_slices=1)).open(SAMPLE) as slicing:
        slicing._process.kill()
        with pytest.raises(DecoderFailed, match="SIGKILL") as caught:
            async for _ in slicing.slices():
                pass
    assert caught.value.transient


async def test_a_child_that_stalls_is_given_up(media: MediaMaker) -> None:
    async with slicer(SlicingLimits(stall_seconds=0.01)).open(SAMPLE) as slicing:
        with pytest.raises(DecoderFailed) as caught:
            async for _ in slicing.slices():
                pass
        assert caught.value.reason == "DECODER_STALLED"
        pid = child_of(slicing)
    assert not runs(pid)


async def test_too_little_memory_is_a_problem_and_not_a_crash_of_ours() -> None:
    async with slicer(SlicingLimits(memory_bytes=200 * 2**20)).open(SAMPLE) as slicing:
        with pytest.raises((MediaProblem, DecoderFailed)):
            async for _ in slicing.slices():
                pass


async def test_processor_time_is_bounded(media: MediaMaker) -> None:
    long = media.wav([Tone(900)], name="a-quarter-of-an-hour")
    async with slicer(SlicingLimits(cpu_seconds=1)).open(long) as slicing:
        with pytest.raises(MediaProblem) as caught:
            async for _ in slicing.slices():
                pass
    assert caught.value.reason == Reason.DECODING_TOO_COSTLY


async def test_the_child_sees_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_MONGO_URL", "mongodb://name:secret@host")
    async with slicer(SlicingLimits(spool_slices=1)).open(SAMPLE) as slicing, aclosing(slicing.slices()) as slices:
        await anext(slices)
        environment = Path(f"/proc/{child_of(slicing)}/environ").read_bytes()
        limits = Path(f"/proc/{child_of(slicing)}/limits").read_text()
    assert b"secret" not in environment
    assert str(SlicingLimits().memory_bytes) in limits


async def test_the_samples_of_a_slice_are_those_of_the_media() -> None:
    whole = to_s16(np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks())))
    async with slicer().open(SAMPLE) as slicing:
        async for cut in slicing.slices():
            there = whole[round(cut.start * SAMPLE_RATE) : round(cut.end * SAMPLE_RATE)]
            assert np.array_equal(to_s16(read_flac(cut.path)), there)


async def test_a_slice_carries_its_voice_activity() -> None:
    whole = np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks()))
    voice = VoiceActivity().of_whole(whole)
    async with slicer().open(SAMPLE) as slicing:
        async for cut in slicing.slices():
            first, last = round(cut.start * SAMPLE_RATE), round(cut.end * SAMPLE_RATE)
            carried = from_note(read_note(cut.path), samples=last - first)
            assert carried is not None
            # The slicer hears it in other blocks, which makes a little difference around digital silence.
            heard = voice[first // FRAME : -(-last // FRAME)]
            assert ((carried >= SPEECH) == (heard >= SPEECH)).mean() > 0.98


async def test_a_child_that_ended_needs_no_word_that_its_last_slice_was_taken(tmp_path: Path) -> None:
    """Uvloop tells a pipe whose reader is gone by RuntimeError, where asyncio's own loop says nothing."""
    last = tmp_path / "last.flac"
    last.write_bytes(b"sound")
    lines = asyncio.StreamReader()
    cut = {"type": "slice", "index": 0, "start": 0.0, "end": 1.0, "speech_seconds": 1.0, "path": str(last)}
    done = {"type": "done", "duration": 1.0, "warnings": []}
    lines.feed_data(b"".join(json.dumps(line).encode() + b"\n" for line in (cut, done)))

    def closed(_: bytes) -> None:
        raise RuntimeError("unable to perform operation on <WriteUnixTransport closed=True>; the handler is closed")

    child: Any = SimpleNamespace(stdout=lines, stdin=SimpleNamespace(write=closed))
    slicing = Slicing(child, SlicingLimits())
    assert [one.index async for one in slicing.slices()] == [0]
    assert slicing.duration == 1.0
    assert not last.exists()
