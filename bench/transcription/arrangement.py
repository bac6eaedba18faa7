"""One way to transcribe one file, in a process of its own: python -m bench.transcription.arrangement NAME FILE MODEL.

Prints a line of JSON: {"load": seconds, "seconds", "text"}, or {"absent": why}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

BATCH = 8


def plain(path: Path, model: str) -> dict[str, Any]:
    """faster-whisper as its README shows it."""
    from faster_whisper import WhisperModel

    begun = time.perf_counter()
    whisper = WhisperModel(model, device="cpu")
    loaded = time.perf_counter()
    segments, _ = whisper.transcribe(str(path))
    return _told(begun, loaded, [segment.text for segment in segments])


def plain_int8(path: Path, model: str) -> dict[str, Any]:
    """The same with int8 and voice activity detection, as experienced users set it."""
    from faster_whisper import WhisperModel

    begun = time.perf_counter()
    whisper = WhisperModel(model, device="cpu", compute_type="int8")
    loaded = time.perf_counter()
    segments, _ = whisper.transcribe(str(path), vad_filter=True, condition_on_previous_text=False)
    return _told(begun, loaded, [segment.text for segment in segments])


def batched(path: Path, model: str) -> dict[str, Any]:
    """faster-whisper's batched pipeline."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    begun = time.perf_counter()
    whisper = BatchedInferencePipeline(WhisperModel(model, device="cpu", compute_type="int8"))
    loaded = time.perf_counter()
    segments, _ = whisper.transcribe(str(path), batch_size=BATCH)
    return _told(begun, loaded, [segment.text for segment in segments])


def whisper_cpp(path: Path, model: str) -> dict[str, Any]:
    """whisper.cpp through pywhispercpp, where a ggml model of the same size lies beside the other."""
    try:
        from pywhispercpp.model import Model
    except ImportError as error:
        return {"absent": f"pywhispercpp is not installed ({error})"}
    found = sorted(Path(model).parent.rglob("ggml-*.bin"))
    if not found:
        return {"absent": "there is no ggml model"}
    from services.transcriber.pcm import read_flac

    begun = time.perf_counter()
    whisper = Model(str(found[0]), print_progress=False, print_realtime=False)
    loaded = time.perf_counter()
    return _told(begun, loaded, [segment.text for segment in whisper.transcribe(read_flac(path))])


def workers(count: int, *, ahead: bool = False) -> Callable[[Path, str], dict[str, Any]]:
    """Our recognizer, one thread a process, slices cut meanwhile or ahead: what the mesh could be at best."""

    def run(path: Path, model: str) -> dict[str, Any]:
        return asyncio.run(_workers(path, model, count, ahead=ahead))

    return run


async def _workers(path: Path, model: str, count: int, *, ahead: bool) -> dict[str, Any]:
    from services.transcriber.settings import Settings
    from services.transcriber.slicer import Slicer, SlicingLimits
    from services.transcriber.whisper import WhisperOptions
    from services.transcriber.worker import WorkerSpec
    from services.transcriber.worker_pool import PoolLimits, WorkerPool

    settings = Settings()
    slicer = Slicer(
        slice_seconds=settings.slice_seconds,
        first_slice_seconds=settings.first_slice_seconds,
        limits=SlicingLimits(),
    )
    options = WhisperOptions(model, device="cpu", beam=settings.recognizer_beam)
    pool = WorkerPool(WorkerSpec("whisper", asdict(options), lanes=count), PoolLimits(workers=count))

    async def cuts(folder: Path) -> AsyncIterator[tuple[Path, float]]:
        async with slicer.open(path) as slicing:
            async for cut in slicing.slices():
                kept = folder / cut.path.name
                kept.write_bytes(cut.path.read_bytes())
                yield kept, cut.end - cut.start

    async def one(audio: Path, seconds: float) -> list[str]:
        async with pool.lease(wait=True) as lease:
            found = await lease.recognize(audio, seconds)
        return [segment.text for segment in found.segments if not segment.suspect]

    with tempfile.TemporaryDirectory() as folder:
        cut_before = [cut async for cut in cuts(Path(folder))] if ahead else []
        begun = time.perf_counter()
        running = asyncio.create_task(pool.run())
        async with AsyncExitStack() as stack:  # all of them lent out at once: then all are loaded
            for _ in range(count):
                await stack.enter_async_context(pool.lease(wait=True))
        loaded = time.perf_counter()
        tasks = [asyncio.create_task(one(audio, seconds)) for audio, seconds in cut_before]
        if not ahead:
            tasks += [asyncio.create_task(one(audio, seconds)) async for audio, seconds in cuts(Path(folder))]
        texts = await asyncio.gather(*tasks)
        told = _told(begun, loaded, [text for part in texts for text in part])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return told


def _told(begun: float, loaded: float, texts: list[str]) -> dict[str, Any]:
    text = " ".join(part.strip() for part in texts)  # the libraries work while they are read
    return {"load": loaded - begun, "seconds": time.perf_counter() - loaded, "text": text}


ARRANGEMENTS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "plain": plain,
    "plain-int8": plain_int8,
    "batched": batched,
    "whisper.cpp": whisper_cpp,
    "workers-1": workers(1),
    "workers-2-ahead": workers(2, ahead=True),
    "workers-2": workers(2),
    "workers-4": workers(4),
    "workers-8": workers(8),
}

if __name__ == "__main__":
    name, file, folder = sys.argv[1:]
    print(json.dumps(ARRANGEMENTS[name](Path(file), folder)), flush=True)
