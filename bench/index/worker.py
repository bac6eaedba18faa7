"""One engine in its own process: reads orders (a line of JSON each) from stdin, answers with a line on stdout.

What is timed, is timed here, beside the engine: the pipe costs nothing that is counted.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.index import engine as engines
from bench.index.corpus import Corpus, Vectors
from bench.index.memory import Memory, Peak, cpu_seconds

Answer = dict[str, Any]


class Worker:
    """Carries out orders; each public method is one."""

    def __init__(self, name: str, folder: Path, threads: int, data: Path, peak: Callable[[], Peak]) -> None:
        self._peak = peak
        self._engine = engines.load(name, folder, threads)
        self._data = data
        self._queries: Vectors = np.load(data / "queries.npy")
        self._before = Memory.now()

    def build(self, room: int) -> Answer:
        """Builds and saves; the seconds are of building until it can be searched."""
        self._before = Memory.now()
        begun = time.perf_counter()
        with self._peak() as peak:
            self._engine.build(Corpus(self._data / "rows.npy"), room)
            seconds = time.perf_counter() - begun
            self._engine.save()
        return {"seconds": seconds, "peak": peak.bytes - self._before.resident, "before": self._before.resident}

    def open(self) -> Answer:
        """Opens what was saved, until the first answer."""
        begun = time.perf_counter()
        with self._peak():
            self._engine.open()
            self._engine.search(self._queries[0], 10, None)
            return {"seconds": time.perf_counter() - begun}

    def efforts(self) -> Answer:
        return {"values": list(self._engine.efforts)}

    def effort(self, value: int) -> Answer:
        self._engine.effort(value)
        return {}

    def ask(self, first: int, count: int, k: int, budget: float, below: int | None = None) -> Answer:
        """Asks questions one by one, until they are all answered or `budget` seconds have passed."""
        seconds, ids = [], []
        end, cpu = time.perf_counter() + budget, cpu_seconds()
        for query in self._queries[first : first + count]:
            begun = time.perf_counter()
            ids.append(self._engine.search(query, k, below))
            seconds.append(time.perf_counter() - begun)
            if begun + seconds[-1] > end:
                break
        cpu = cpu_seconds() - cpu
        return {"seconds": seconds, "cpu": cpu, "ids": [list(map(int, found)) for found in ids]}

    def ask_many(self, first: int, count: int, batch: int, k: int, budget: float) -> Answer:
        """Asks questions `batch` at once, until `budget` seconds have passed or `count` are answered."""
        ids: list[list[int]] = []
        begun, cpu = time.perf_counter(), cpu_seconds()
        while len(ids) < count and time.perf_counter() - begun < budget:
            chosen = np.arange(first + len(ids), first + len(ids) + batch) % len(self._queries)
            ids += [list(map(int, found)) for found in self._engine.search_many(self._queries[chosen], k)]
        return {"seconds": time.perf_counter() - begun, "cpu": cpu_seconds() - cpu, "ids": ids}

    def add(self, rows: int, size: int, budget: float) -> Answer:
        """Adds the extra rows, `size` in a call, until `budget` seconds have passed."""
        corpus = Corpus(self._data / "rows.npy")
        added, begun = 0, time.perf_counter()
        for block in Corpus(self._data / "extra.npy", first_id=corpus.rows).blocks(size, rows):
            self._engine.add(block)
            added += len(block.ids)
            if time.perf_counter() - begun > budget:
                break
        return {"seconds": time.perf_counter() - begun, "rows": added}

    def delete(self, ids: list[int]) -> Answer:
        begun = time.perf_counter()
        self._engine.delete(np.array(ids, np.int64))
        return {"seconds": time.perf_counter() - begun}

    def memory(self) -> Answer:
        """What stays, over what the process had before it held a row."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed and merely not yet given back is no cost of the index
        now = Memory.now()
        return {"resident": now.resident - self._before.resident, "own": now.own - self._before.own}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory-gib", type=float, required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print; only answers go back

    def reply(answer: Answer) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    def too_much() -> None:
        reply({"error": f"> {arguments.memory_gib:g} GiB of memory"})
        os._exit(1)  # from a thread, in the middle of a library's work: there is no gentler way

    def peak() -> Peak:
        return Peak(int(arguments.memory_gib * 2**30), too_much)

    try:
        worker = Worker(arguments.engine, arguments.folder, arguments.threads, arguments.data, peak)
    except ImportError as error:
        reply({"error": f"not installed: {error}"})
        return
    reply({})
    for line in sys.stdin:
        order = json.loads(line)
        method: Callable[..., Answer] = getattr(worker, order.pop("do"))
        try:
            reply(method(**order))
        except engines.Unsupported as why:
            reply({"unsupported": str(why)})
        except Exception as error:  # noqa: BLE001  # whatever a peer raises belongs into the table, not into our trace
            reply({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
