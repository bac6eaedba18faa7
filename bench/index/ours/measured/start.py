"""Start of a shard from its snapshot: process, hashes, maps, first answer; with its files in memory, and without."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.index.ours import folder as index
from bench.index.ours.measured.remote import remote
from services.indexer.segment import verify

DIMENSION = 384


async def measure(shard: Path, work: Path, *, rounds: int, copies: int) -> dict[str, Any]:
    """Starts it again and again, in turns with cold files; one of `copies` times its segment, if they are several."""
    if copies > 1:
        await asyncio.to_thread(index.multiplied, shard, work / "multiplied", copies)
        shard = work / "multiplied"
    taken: dict[str, list[float]] = {}
    chunks = 0
    for _ in range(rounds):
        for state in ("warm", "cold"):
            if state == "cold":
                _forget(shard)
            async with remote(shard) as server:
                chunks = server.facts["chunks"]
                vector = np.random.default_rng(1).normal(size=DIMENSION).astype(np.float32)
                begun = time.perf_counter()
                await server.search(vector)
                taken.setdefault(f"{state}: first search s", []).append(time.perf_counter() - begun)
                taken.setdefault(f"{state}: CPU s", []).append(server.cpu_seconds)
                for name in ("ready s", "restore s"):
                    taken.setdefault(f"{state}: {name}", []).append(server.facts[name])
        begun, cpu = time.perf_counter(), time.process_time()
        for segment in (shard / "segments").iterdir():
            verify(segment)
        taken.setdefault("hashes alone s", []).append(time.perf_counter() - begun)
        taken.setdefault("hashes alone CPU s", []).append(time.process_time() - cpu)
    size = sum(path.stat().st_size for path in (shard / "segments").rglob("*") if path.is_file())
    return {
        "chunks": chunks,
        "segments": copies,
        "bytes": size,
        **{name: statistics.median(each) for name, each in taken.items()},
    }


def _forget(folder: Path) -> None:
    """Asks the kernel to drop the files from memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
