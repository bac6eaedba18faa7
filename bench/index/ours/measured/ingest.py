"""What 2,000 new chunks a second cost the searches beside them: turns with and without, the same process."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.index import data, texts
from bench.index.ours.measured.remote import Remote, remote

PER_SECOND = 2000
SECONDS = 5.0
IN_FLIGHT = 2
PAUSE_SECONDS = 0.01
TEXTS = 5000


async def measure(shard: Path, work: Path, found: data.Dataset, *, rounds: int) -> dict[str, Any]:
    """Searches in turns; each turn's p99 beside that of the quiet turn before it."""
    said = work / "texts.json"
    said.write_text(json.dumps([hearing.text for hearing in texts.read()[:TEXTS]]))
    order = {"vectors": str(found.folder / "extra.npy"), "texts": str(said), "per_second": PER_SECOND}
    quiet: list[dict[str, float]] = []
    busy: list[dict[str, float]] = []
    ingested: list[dict[str, Any]] = []
    async with remote(shard) as server:
        await _turn(server, found, server.order("idle", seconds=1))
        for _ in range(rounds):
            quiet.append((await _turn(server, found, server.order("idle", seconds=SECONDS)))[0])
            numbers, answer = await _turn(server, found, server.order("apply", seconds=SECONDS, **order))
            busy.append(numbers)
            ingested.append(answer)
    numbers = {
        f"{name} {part}": statistics.median(turn[part] for turn in turns)
        for name, turns in (("quiet", quiet), ("ingest", busy))
        for part in ("p50 ms", "p99 ms", "searches")
    }
    ratios = [one["p99 ms"] / other["p99 ms"] for one, other in zip(busy, quiet, strict=True)]
    return {
        **numbers,
        "p99 ratio": statistics.median(ratios),
        "p50 ratio": statistics.median(b["p50 ms"] / q["p50 ms"] for b, q in zip(busy, quiet, strict=True)),
        "p99 ratios": [round(ratio, 2) for ratio in ratios],
        "ingested": ingested[-1],
        "ingested/s": statistics.median(turn["chunks/s"] for turn in ingested),
    }


async def _turn(server: Remote, found: data.Dataset, order: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Searches, a few in flight with a pause after each, until the order is carried out."""
    seconds: list[float] = []
    questions = itertools.cycle(found.queries)
    ordered = asyncio.ensure_future(order)

    async def ask() -> None:
        while not ordered.done():
            begun = time.perf_counter()
            await server.search(next(questions))
            seconds.append(time.perf_counter() - begun)
            await asyncio.sleep(PAUSE_SECONDS)

    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    times = 1000 * np.array(seconds)
    numbers = {"p50 ms": float(np.median(times)), "p99 ms": float(np.percentile(times, 99)), "searches": len(times)}
    return numbers, await ordered
