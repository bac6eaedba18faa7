"""Workers in real child processes, with the scripted recognizer: they die, hang and come back."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.common.errors import Overloaded
from services.transcriber.pcm import to_s16, write_flac
from services.transcriber.recognizer import Recognition
from services.transcriber.voice import FRAME, to_note
from services.transcriber.worker import WorkerSpec
from services.transcriber.worker_pool import ModelUnavailable, PoolLimits, RecognizerFailed, WorkerPool
from tests.support import eventually


@contextlib.asynccontextmanager
async def running(limits: PoolLimits | None = None, **options: Any) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(WorkerSpec("scripted", options), limits or PoolLimits(workers=1))
    task = asyncio.create_task(pool.run())
    try:
        await eventually(lambda: len(pool._alive) == pool.size, timeout=30)
        yield pool
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def audio(folder: Path, seconds: float, name: str = "a.flac") -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)
    write_flac(folder / name, to_s16(samples))
    return folder / name


async def recognize(pool: WorkerPool, path: Path, seconds: float, *, wait: bool = True) -> Recognition:
    async with pool.lease(wait=wait) as lease:
        return await lease.recognize(path, seconds)


def pids(pool: WorkerPool) -> set[int]:
    return {worker._process.pid for worker in pool._alive}


async def test_a_slice_is_recognized_in_a_child(tmp_path: Path) -> None:
    async with running() as pool:
        assert await pool.ready()
        assert pool.name == "scripted"
        path = audio(tmp_path, 11)
        found = await recognize(pool, path, 11)
        assert len(found.segments) == 3
        assert found.segments[0].words
        assert await recognize(pool, path, 11) == found
        [pid] = pids(pool)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_two_slices_are_recognized_at_once(tmp_path: Path) -> None:
    path = audio(tmp_path, 3)
    async with running(PoolLimits(workers=2)) as pool, pool.lease(wait=True) as one, pool.lease(wait=True) as other:
        found = await asyncio.gather(one.recognize(path, 3), other.recognize(path, 3))
        assert found[0] == found[1]


async def test_a_crash_costs_one_attempt_and_the_worker_comes_back(tmp_path: Path) -> None:
    async with running(misbehave={"2": "crash"}) as pool:
        before = pids(pool)
        with pytest.raises(RecognizerFailed, match="signal 9"):
            await recognize(pool, audio(tmp_path, 1), 1)
        assert (await recognize(pool, audio(tmp_path, 3), 3)).segments
        assert pids(pool) != before


@pytest.mark.parametrize(("how", "told"), [("segfault", "signal 11"), ("hog", "out of memory")])
async def test_native_crashes_and_exhausted_memory_cost_one_attempt_too(tmp_path: Path, how: str, told: str) -> None:
    async with running(misbehave={"2": how}) as pool:
        before = pids(pool)
        with pytest.raises(RecognizerFailed, match=told):
            await recognize(pool, audio(tmp_path, 1), 1)
        assert (await recognize(pool, audio(tmp_path, 3), 3)).segments
        assert pids(pool).isdisjoint(before)


@pytest.mark.slow
async def test_workers_that_the_system_kills_leave_no_memory_behind(tmp_path: Path) -> None:
    path = audio(tmp_path, 1)
    async with running(misbehave={"2": "swell"}) as pool:
        with pytest.raises(RecognizerFailed, match="signal 9"):  # the first makes room for what all after it need
            await recognize(pool, path, 1)
        await eventually(pool.ready, timeout=30)
        before, files = resident_mib(), open_files()
        most = 0.0
        for _ in range(5):
            dying = asyncio.create_task(recognize(pool, path, 1))
            while not dying.done():
                most = max(most, resident_mib())
                await asyncio.sleep(0.005)
            with pytest.raises(RecognizerFailed, match="signal 9"):
                await dying
            await eventually(pool.ready, timeout=30)
        assert most > before + 200  # it was there
        assert resident_mib() < before + 30
        assert open_files() <= files


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_mib() -> float:
    """Memory of this process and of all below it."""
    pages, parents = {}, {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)], pages[int(folder.name)] = int(fields[1]), int(fields[21])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(pages.get(pid, 0) for pid in family) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def test_a_worker_that_hangs_is_killed_at_its_time_limit(tmp_path: Path) -> None:
    limits = PoolLimits(workers=1, base_seconds=0.2, seconds_per_second=0.1)
    async with running(limits, misbehave={"2": "hang"}) as pool:
        with pytest.raises(RecognizerFailed, match="no answer within"):
            await recognize(pool, audio(tmp_path, 1), 1)
        await eventually(pool.ready)


async def test_a_worker_that_dies_idle_is_replaced(tmp_path: Path) -> None:
    async with running() as pool:
        before = pids(pool)
        os.kill(next(iter(before)), signal.SIGKILL)
        await eventually(lambda: pids(pool) and pids(pool) != before)
        assert (await recognize(pool, audio(tmp_path, 3), 3, wait=False)).segments


async def test_an_error_in_the_model_gives_a_fresh_worker(tmp_path: Path) -> None:
    async with running(misbehave={"2": "raise"}) as pool:
        before = pids(pool)
        with pytest.raises(RecognizerFailed, match="told to"):
            await recognize(pool, audio(tmp_path, 1), 1)
        await eventually(lambda: pids(pool) and pids(pool) != before)


async def test_audio_that_is_none_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bad.flac").write_bytes(b"x" * 100)
    async with running() as pool:
        with pytest.raises(RecognizerFailed, match="slice audio"):
            await recognize(pool, tmp_path / "bad.flac", 1)
        assert (await recognize(pool, audio(tmp_path, 3), 3)).segments


async def test_when_all_are_busy_and_the_queue_is_full_a_caller_is_refused(tmp_path: Path) -> None:
    async with running(PoolLimits(workers=1, queue=1)) as pool, pool.lease(wait=False):
        queued = asyncio.create_task(recognize(pool, audio(tmp_path, 1), 1, wait=False))
        await eventually(lambda: pool._waiting == 1)
        with pytest.raises(Overloaded) as refused:
            await recognize(pool, tmp_path, 1, wait=False)
        assert refused.value.retry_after_seconds
        queued.cancel()
        await asyncio.gather(queued, return_exceptions=True)


async def test_before_a_model_is_loaded_a_caller_is_refused(tmp_path: Path) -> None:
    pool = WorkerPool(WorkerSpec("scripted"), PoolLimits(workers=1))
    assert not await pool.ready()
    with pytest.raises(ModelUnavailable):
        await recognize(pool, tmp_path, 1, wait=False)


async def test_a_caller_that_goes_away_does_not_spoil_the_worker_for_the_next(tmp_path: Path) -> None:
    async with running(misbehave={"2": "hang"}) as pool:
        task = asyncio.create_task(recognize(pool, audio(tmp_path, 1), 1))
        await eventually(lambda: pool._free.empty())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len((await recognize(pool, audio(tmp_path, 11, "b.flac"), 11)).segments) == 3


async def test_a_model_that_is_not_there_never_gets_ready(tmp_path: Path) -> None:
    spec = WorkerSpec("whisper", {"model": str(tmp_path / "none"), "device": "cpu"})
    pool = WorkerPool(spec, PoolLimits(workers=1))
    with capture_logs() as logs:
        task = asyncio.create_task(pool.run())
        await eventually(lambda: len(logs) == 2, timeout=60)
        assert not await pool.ready()
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {entry["event"] for entry in logs} == {"recognizer_not_started"}
    assert "cannot be loaded" in logs[0]["error"]
    assert logs[1]["again_in_seconds"] > logs[0]["again_in_seconds"]


async def test_a_slice_is_fetched_only_for_a_worker_that_is_there() -> None:
    pool = WorkerPool(WorkerSpec("scripted"), PoolLimits(workers=2))
    assert pool.places.locked()
    task = asyncio.create_task(pool.run())
    await asyncio.wait_for(pool.places.acquire(), timeout=30)
    await asyncio.wait_for(pool.places.acquire(), timeout=30)
    assert len(pool._alive) == 2
    # One that is replaced makes no third.
    os.kill(next(iter(pids(pool))), signal.SIGKILL)
    await eventually(lambda: len(pool._alive) == 1)
    await eventually(lambda: len(pool._alive) == 2, timeout=30)
    assert pool.places.locked()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cores_of_workers_that_have_nothing_to_do_go_to_those_that_have() -> None:
    def allowed() -> list[int]:
        return [worker._lanes for worker in pool._busy]

    async with running(PoolLimits(workers=3)) as pool, pool.lease(wait=True):
        assert allowed() == [3]
        async with pool.lease(wait=True):
            assert allowed() == [2, 1]
            async with pool.lease(wait=True):
                assert allowed() == [1, 1, 1]
        assert allowed() == [3]


async def test_what_the_slicer_knows_of_voice_is_not_found_out_again(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * 16_000).astype(np.float32)  # noise, no voice
    note = to_note(np.ones(-(-len(samples) // FRAME), np.float32))
    shares = []
    async with running() as pool:
        for told in (note, "", to_note(np.ones(3, np.float32))):  # the last is of other audio
            write_flac(tmp_path / "a.flac", to_s16(samples), note=told)
            found = await recognize(pool, tmp_path / "a.flac", 10)
            shares.append(found.segments[0].speech_share)
        write_flac(tmp_path / "a.flac", to_s16(samples), note="eA==")
        with pytest.raises(RecognizerFailed, match="voice activity cannot be read"):
            await recognize(pool, tmp_path / "a.flac", 10)
    assert shares[0] == 1.0
    assert shares[1] == shares[2] < 0.5
