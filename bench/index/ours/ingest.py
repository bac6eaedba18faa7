"""Chunks that come while searches run: applied at a rate in the process that searches, as the follower does it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.index.ours import folder as index
from services.indexer.chunks import Batch, Change, Chunk, ReplaceSlice, VideoInfo
from services.indexer.replica import Replica
from services.indexer.segment import Segment

SLICE = 10
"""Chunks of a slice: five minutes of speech."""

FIRST_VIDEO = 10**9
TICK_SECONDS = 0.05


class Ingest:
    """Carries out orders; each public method is one.

    Args:
        replica: What is changed.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._next = 0

    async def look(self, breadth: int) -> dict[str, Any]:
        """Has searches look so far in every segment."""
        for part, _ in self._replica.shard.view.parts:
            if isinstance(part, Segment):
                part.dense.look(breadth)
        return {}

    async def apply(self, vectors: str, texts: str, per_second: float, seconds: float) -> dict[str, Any]:
        """Applies slices of new videos at a rate, in one change for what has come due in a twentieth of a second.

        Args:
            vectors: An `.npy` file of float32 vectors, taken in turn.
            texts: A JSON list of texts, taken in turn.
            per_second: Chunks.
            seconds: How long.
        """
        rows, said = await asyncio.to_thread(_load, vectors, texts)
        begun, cpu, done, longest = time.perf_counter(), time.process_time(), 0, 0.0
        while (passed := time.perf_counter() - begun) < seconds:
            due = int((passed + TICK_SECONDS) * per_second / SLICE) - done // SLICE
            changes = [self._slice(rows, said) for _ in range(due)]
            if changes:
                at = time.perf_counter()
                await self._replica.apply(changes)
                longest = max(longest, time.perf_counter() - at)
                done += due * SLICE
            await asyncio.sleep(max(0.0, TICK_SECONDS - (time.perf_counter() - begun - passed)))
        return {
            "chunks/s": done / (time.perf_counter() - begun),
            "CPU s": time.process_time() - cpu,
            "longest apply s": longest,
            "parts": len(self._replica.shard.view.parts),
        }

    async def idle(self, seconds: float) -> dict[str, Any]:
        """Lets as much time pass, with nothing to apply."""
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        return {"CPU s": time.process_time() - cpu}

    def _slice(self, rows: Any, texts: list[str]) -> Change:
        number = self._next
        self._next += 1
        video = index.video_id(FIRST_VIDEO + number)
        places = np.arange(number * SLICE, (number + 1) * SLICE)
        chunks = [
            Chunk(
                f"{video}/00000/{at:04d}", texts[place % len(texts)], 30.0 * at, 30.0 * at + 30, ((0, 30.0 * at),), "en"
            )
            for at, place in enumerate(places.tolist())
        ]
        batch = Batch(chunks, rows[places % len(rows)], index.MODEL)
        return ReplaceSlice(video, "00000", VideoInfo(title="Another hearing"), batch)


def _load(vectors: str, texts: str) -> tuple[Any, list[str]]:
    return np.load(vectors), json.loads(Path(texts).read_bytes())
