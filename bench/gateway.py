"""What the gateway costs: uploads against the raw disk, searches against the same parts in one process.

    python -m bench.gateway [--mb 256] [--rounds 5] [--searches 400]

A mesh of its own is started and ended. Uploads are random bytes, which are no media: they are kept, refused by the
slicer at once, and deleted. They and the writing of the same bytes into the same file system take turns. What is
searched are transcripts made of our samples' sentences; every question is asked once, so that no answer is remembered.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np

from bench import corpus, machine, mesh
from bench.retrieval import Question, Search, ShardedIndex, cut, embed
from earmark.client import Client, TranscriptLine
from earmark.local import models
from services.embedder import chunker
from services.embedder.loading import ModelLoader
from services.embedder.model import EmbeddingModel, TextKind
from services.gateway.search import SearchMode

PIECE = 2**20
VIDEOS, SENTENCES = 40, 60
SHARDS = 2
IN_FLIGHT = (1, 8, 32)
WARM_UP = 20
FLOOR_THREADS = os.cpu_count() or 1


def main() -> None:
    """Measures and prints Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=256, help="size of an upload, 10^6 bytes")
    parser.add_argument("--rounds", type=int, default=5, help="of uploads, each way in each")
    parser.add_argument("--searches", type=int, default=400, help="of each way and number in flight (at least 200)")
    arguments = parser.parse_args()
    if arguments.searches < 200:
        parser.error("--searches: a p99 of fewer than 200 is the slowest two")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-bench-")))
        found = models.ensure(folder / "models")
        loader = ModelLoader(found.embedding, folder / "exported")
        asyncio.run(loader.prepare())
        url = stack.enter_context(mesh.started_mesh(folder))
        print(uploads_table(measure_uploads(url, folder, arguments.mb * 10**6, arguments.rounds), arguments.mb))
        videos = transcripts()
        fill(url, videos)
        floor = stack.enter_context(Floor.of(loader.load(threads=1), videos))
        print("\n" + measure_searches(url, floor, arguments.searches))
    print(f"\nBefore: {before}\n\nAfter: {machine.describe()}")


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────


def measure_uploads(url: str, folder: Path, size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, in turns."""
    ways: dict[str, Callable[[Path], float]] = {
        "disk": lambda source: _to_disk(source, folder / "raw"),
        "disk, SHA-256": lambda source: _to_disk(source, folder / "raw", hashed=True),
        "multipart": lambda source: _multipart(url, source),
        "tus": lambda source: _tus(url, source),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    source = folder / "upload.bin"
    for turn in range(rounds):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _random_file(source, size)  # and so in the page cache, for each way alike
            tell(f"round {turn + 1}: {name}")
            seconds[name].append(ways[name](source))
    source.unlink()
    return seconds


def uploads_table(seconds: dict[str, list[float]], mb: int) -> str:
    """Median MB/s, from to, and the share of the raw disk's."""
    disk = statistics.median(seconds["disk"])
    rows = [f"| {mb} MB, {len(seconds['disk'])} rounds | MB/s | from to | of the disk |", "|---|---:|---:|---:|"]
    for name, taken in seconds.items():
        median = statistics.median(taken)
        spread = f"{mb / max(taken):.0f} to {mb / min(taken):.0f}"
        rows.append(f"| {name} | {mb / median:.0f} | {spread} | {disk / median:.2f} |")
    return "\n".join(rows)


def _random_file(path: Path, size: int) -> None:
    piece = secrets.token_bytes(PIECE)
    with path.open("wb") as file:
        for number in range(-(-size // PIECE)):
            file.write((number.to_bytes(8) + piece[8:])[: size - number * PIECE])
        file.flush()
        os.fsync(file.fileno())


def _to_disk(source: Path, target: Path, *, hashed: bool = False) -> float:
    digest = hashlib.sha256()
    begun = time.perf_counter()
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(PIECE):
            if hashed:
                digest.update(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    taken = time.perf_counter() - begun
    target.unlink()
    return taken


def _multipart(url: str, source: Path) -> float:
    with httpx.Client(base_url=url, timeout=600) as http, source.open("rb") as file:
        begun = time.perf_counter()
        response = http.post("/v1/videos/upload", files={"file": (source.name, file)})
        taken = time.perf_counter() - begun
    mesh.delete(url, [response.raise_for_status().json()["video_id"]])
    return taken


def _tus(url: str, source: Path) -> float:
    with Client(url) as client:
        begun = time.perf_counter()
        video = client.upload(source)
        taken = time.perf_counter() - begun
    mesh.delete(url, [video.video_id])
    return taken


# ── searches ─────────────────────────────────────────────────────────────────────────────────────


def transcripts() -> dict[str, list[dict[str, object]]]:
    """Videos of sentences drawn from our samples, by title, one sentence every six seconds."""
    spoken = [
        sentence["text"]
        for talk in json.loads((corpus.SAMPLES / "timings.json").read_text(encoding="utf-8")).values()
        for sentence in talk["sentences"]
    ]
    chance = random.Random(5)
    return {
        f"talk {number}": [
            {"start": 6.0 * at, "end": 6.0 * at + 5, "text": text}
            for at, text in enumerate(chance.choices(spoken, k=SENTENCES))
        ]
        for number in range(VIDEOS)
    }


def questions(count: int, seed: int) -> list[str]:
    """Phrases of our samples with their words in another order: no two alike."""
    words = [word for recording in corpus.samples() for word in recording.reference.split()]
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        first = chance.randrange(len(words) - 12)
        found[" ".join(chance.sample(words[first : first + 12], k=chance.randint(3, 8)))] = None
    return list(found)


def fill(url: str, videos: dict[str, list[dict[str, object]]]) -> None:
    """Imports the transcripts and waits until they can be searched."""
    tell(f"importing {len(videos)} transcripts")
    with Client(url) as client:
        ids = [
            client.import_transcript(title, [TranscriptLine(**line) for line in lines], language="en").video.video_id  # type: ignore[arg-type]
            for title, lines in videos.items()
        ]
        for video_id in ids:
            *_, last = client.watch(video_id)
            if last.status != "ready":
                raise RuntimeError(f"{video_id} is {last.status}")


class Floor:
    """The embedder's model, shards and fusion without a service between them."""

    def __init__(self, model: EmbeddingModel, index: ShardedIndex) -> None:
        self._model = model
        self._vectors: dict[Question, np.ndarray] = {}
        self._search: Search = index.searcher(SearchMode.HYBRID, self._vectors)

    @classmethod
    @contextmanager
    def of(cls, model: EmbeddingModel, videos: dict[str, list[dict[str, object]]]) -> Iterator[Floor]:
        """Fills shards of its own."""
        tell("the same in one process")
        limits = chunker.ChunkLimits(max_tokens=model.max_tokens)
        chunks = {title: cut({"video_id": title, "sentences": lines}, model, limits) for title, lines in videos.items()}
        tell(f"{sum(map(len, chunks.values()))} chunks")
        index = ShardedIndex(SHARDS, model, chunks, {title: title for title in videos})
        try:
            yield cls(model, index)
        finally:
            index.close()

    def search(self, text: str) -> None:
        """Embeds, asks every shard, and fuses."""
        question = Question(text, "", 0, 0)
        self._vectors[question] = embed(self._model, [text], TextKind.QUERY)[0]
        if not self._search(question, False):
            raise RuntimeError(f"nothing was found for {text!r}")


def measure_searches(url: str, floor: Floor, count: int) -> str:
    """The table: each way with so many in flight, in turns."""
    rows = [
        f"| {count} searches | in flight | requests/s | p50 ms | p99 ms | p50 to the floor's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    here = threading.local()

    def over_http(text: str) -> None:
        if not hasattr(here, "connection"):
            here.connection = mesh.SearchConnection(url)
        if not here.connection.search(text)["coverage"]["complete"]:
            raise RuntimeError("an answer was partial")

    ways: list[tuple[str, int, Callable[[str], None]]] = [("in one process", 1, floor.search)]
    ways += [("in one process", FLOOR_THREADS, floor.search)] if FLOOR_THREADS > 1 else []
    ways += [("over HTTP", flight, over_http) for flight in IN_FLIGHT]
    alone = 0.0
    for number, (name, flight, search) in enumerate(ways):
        tell(f"{name}, {flight} in flight")
        rate, taken = _rate(search, questions(count + WARM_UP, number), flight)
        p50, p99 = (1000 * float(np.percentile(taken, percent)) for percent in (50, 99))
        alone = alone or p50
        rows.append(f"| {name} | {flight} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {p50 / alone:.2f} |")
    again = questions(count, 99)[:WARM_UP] * (count // WARM_UP)
    rate, taken = _rate(over_http, [*again[:WARM_UP], *again], 8)
    p50, p99 = (1000 * float(np.percentile(taken, percent)) for percent in (50, 99))
    rows.append(f"| over HTTP, {WARM_UP} questions again and again | 8 | {rate:.0f} | {p50:.1f} | {p99:.1f} | |")
    return "\n".join(rows)


def _rate(search: Callable[[str], None], asked: Sequence[str], flight: int) -> tuple[float, list[float]]:
    """Requests/s, and seconds of each, after the first few."""

    def timed(text: str) -> float:
        begun = time.perf_counter()
        search(text)
        return time.perf_counter() - begun

    with ThreadPoolExecutor(flight) as pool:
        list(pool.map(timed, asked[:WARM_UP]))
        begun = time.perf_counter()
        taken = list(pool.map(timed, asked[WARM_UP:]))
        return len(taken) / (time.perf_counter() - begun), taken


def tell(what: str) -> None:
    """Says on standard error what is under way."""
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
