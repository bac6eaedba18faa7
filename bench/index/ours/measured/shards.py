"""The same rows in 1, 2, 4 and 8 processes: what a query costs all of them, and the asker."""

from __future__ import annotations

import asyncio
import heapq
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench.index import data
from bench.index.corpus import Corpus, Vectors
from bench.index.ours import folder as index
from bench.index.ours.measured.remote import K, Remote, remote
from services.common.ids import SLOTS, slot_of

COUNTS = (1, 2, 4, 8)
QUESTIONS = 100
BUILD_THREADS = 2


async def measure(work: Path, found: data.Dataset, *, rounds: int) -> dict[str, Any]:
    """Asks every number of shards in turns; milliseconds a query, medians over the rounds."""
    async with AsyncExitStack() as stack:
        groups: dict[int, list[Remote]] = {}
        for count in COUNTS:
            folders = await asyncio.to_thread(write, work, found.corpus, count)
            groups[count] = [await stack.enter_async_context(remote(folder, threads=1)) for folder in folders]
        turns: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
        for number in range(rounds):
            for count, servers in groups.items():
                turn = await _turn(servers, found.queries[number * QUESTIONS :][:QUESTIONS])
                turns[count].append(turn)
    return {
        str(count): {name: statistics.median(turn[name] for turn in each) for name in each[0]}
        for count, each in turns.items()
    }


def write(work: Path, corpus: Corpus, count: int) -> list[Path]:
    """Makes the folders of so many shards: rows by the slot of their video, as the first slot table has it."""
    videos = corpus.videos()
    shard_of_video = {number: slot_of(index.video_id(number)) * count // SLOTS for number in np.unique(videos).tolist()}
    of_row = np.array([shard_of_video[number] for number in videos.tolist()])
    folders = []
    for shard in range(count):
        rows = np.flatnonzero(of_row == shard)
        folder = work / f"{count}-{shard}"
        infos = {index.video_id(number): index.info(number) for number in np.unique(videos[rows]).tolist()}
        batch = index.plain_batch(videos[rows].tolist(), rows.tolist(), corpus.take(rows + corpus.first_id))
        index.write(folder, [batch], infos, index.policy_of("", BUILD_THREADS))
        folders.append(folder)
    return folders


async def _turn(servers: list[Remote], queries: Vectors) -> dict[str, float]:
    before, own = sum(server.cpu_seconds for server in servers), time.process_time()
    seconds, merging = [], 0.0
    for query in queries:
        begun = time.perf_counter()
        answers = await asyncio.gather(*(server.search(query) for server in servers))
        at = time.thread_time()
        hits = ((hit.semantic_score, hit.chunk.chunk_id) for answer in answers for hit in answer.hits)
        heapq.nlargest(K, hits)
        merging += time.thread_time() - at
        seconds.append(time.perf_counter() - begun)
    count = len(queries)
    own, theirs = time.process_time() - own, sum(server.cpu_seconds for server in servers) - before
    return {
        "p50 ms": 1000 * float(np.median(seconds)),
        "CPU ms": 1000 * (own + theirs) / count,
        "asker's CPU ms": 1000 * own / count,
        "merging ms": 1000 * merging / count,
    }
