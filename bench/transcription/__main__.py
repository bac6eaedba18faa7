"""The mesh and other ways to run the same Whisper model, on one recording: speed, words right, memory.

python -m bench.transcription                       ten minutes of English, all ways, one after another
python -m bench.transcription --minutes 60 --only mesh workers-2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench import machine, mesh
from bench.transcription.arrangement import ARRANGEMENTS
from bench.transcription.audio import Talk, talk
from bench.transcription.process_tree import Peak, settle
from earmark.client import AsyncClient
from earmark.local import models

MESH = "mesh"
NAMES = {
    "plain": "faster-whisper, its defaults",
    "plain-int8": "faster-whisper, int8, VAD, no text carried on",
    "batched": "BatchedInferencePipeline, int8, batch 8",
    "whisper.cpp": "whisper.cpp (pywhispercpp)",
    "workers-1": "our recognizer alone, 1 worker",
    "workers-2": "… 2 workers",
    "workers-2-ahead": "… 2 workers, slices cut before",
    "workers-4": "… 4 workers",
    "workers-8": "… 8 workers",
    MESH: "the mesh: upload to searchable",
}


@dataclass(slots=True)
class Result:
    """What one way came to, over the repeats. Seconds without loading the model; memory in MiB."""

    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    mib: float = 0.0
    wrong: int = 0
    invented: int = 0
    words: int = 0
    absent: str = ""


def main() -> None:
    """Measures and prints a Markdown table."""
    cores = len(os.sched_getaffinity(0))
    ways = [name for name in ARRANGEMENTS if not name.startswith("workers") or int(name.split("-")[1]) <= cores]
    ways.append(MESH)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="length of the recording")
    parser.add_argument("--repeats", type=int, default=1, help="of each, in turn; medians are shown")
    parser.add_argument("--only", nargs="+", choices=[*ARRANGEMENTS, MESH], default=ways, help="ways to measure")
    parser.add_argument("--samples-only", action="store_true", help="leave ../shared/media out")
    parser.add_argument("--json", type=Path, help="write every single figure there")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    before, busy = machine.describe(), machine.load_per_core() > 0.3
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-bench-")))
        found = models.ensure(folder / "models")
        recording = talk(folder / "talk.flac", minutes=arguments.minutes, samples_only=arguments.samples_only)
        results = {name: Result() for name in arguments.only}
        for turn in range(arguments.repeats):
            for name in arguments.only if turn % 2 == 0 else arguments.only[::-1]:
                print(f"… {name}", file=sys.stderr, flush=True)
                if name == MESH:
                    measure_mesh(results[name], recording, folder / f"mesh-{turn}")
                else:
                    measure(results[name], name, recording, found.asr)
    print(table(results, recording))
    if busy:
        print("\n**The machine was busy with other things before this run: neither the times nor the ratios hold.**")
    print(f"\nBefore: {before}\n\nAfter: {machine.describe()}")
    if arguments.json:
        shown = {name: {slot: getattr(result, slot) for slot in Result.__slots__} for name, result in results.items()}
        arguments.json.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")


def measure(result: Result, name: str, recording: Talk, model: str) -> None:
    """Runs one arrangement in a process of its own."""
    command = [sys.executable, "-m", "bench.transcription.arrangement", name, str(recording.path), model]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = Peak()
    with peak.of(process.pid):
        out, _ = process.communicate()
    if process.returncode:
        result.absent = f"ended with status {process.returncode}"
        return
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    if "absent" in told:
        result.absent = told["absent"]
        return
    result.seconds.append(told["seconds"])
    result.mib = max(result.mib, peak.mib)
    result.wrong, result.invented, result.words = recording.errors(told["text"])


def measure_mesh(result: Result, recording: Talk, folder: Path) -> None:
    """Starts a mesh, uploads the recording, and waits until all of it can be found; the models are loaded before."""
    with mesh.started_mesh(folder) as url:
        pid = json.loads((folder / "run" / "mesh.json").read_text(encoding="utf-8"))
        settle(_supervisor(pid))  # the mesh serves when it has one recognizer; the others load their models after it
        peak = Peak()
        with peak.of(_supervisor(pid)):
            video_id, uploaded, first, ready = asyncio.run(_ingest(url, recording.path))
        result.seconds.append(ready - uploaded)
        result.first.append(first - uploaded)
        result.mib = max(result.mib, peak.mib)
        answer = httpx.get(f"{url}/videos/{video_id}/transcript", params={"suspect": "exclude"}, timeout=60)
        heard = " ".join(segment["text"] for segment in answer.raise_for_status().json()["segments"])
        result.wrong, result.invented, result.words = recording.errors(heard)


async def _ingest(url: str, path: Path) -> tuple[str, float, float, float]:
    """Gives the id, and when it was uploaded, first searchable, and ready."""
    async with AsyncClient(url) as client:
        video = await client.upload(path, duplicate=True)
        uploaded = time.perf_counter()
        first = 0.0
        # Told of changes, and not asking again and again: that would cost the cores that are measured.
        async for status in client.watch(video.video_id):
            now = time.perf_counter()
            if not first and status.progress.seconds_searchable:
                first = now
            if status.status == "ready":
                return video.video_id, uploaded, first, now
        raise RuntimeError(f"the video did not get ready: {status.error}")


def _supervisor(told: dict[str, Any]) -> int:
    pids = told.get("pid") or told.get("pids", {})
    return int(pids if isinstance(pids, int) else pids.get("supervisor", os.getpid()))


def table(results: dict[str, Result], recording: Talk) -> str:
    """The figures as Markdown."""
    rows = [
        f"{recording.seconds / 60:.1f} min of English, {recording.parts} pieces:",
        "",
        "| | s | × real time | × faster-whisper's defaults | WER, % | words invented | peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = statistics.median(results["plain"].seconds) if results.get("plain", Result()).seconds else 0.0
    for name, result in results.items():
        if not result.seconds:
            rows.append(f"| {NAMES[name]} | not run: {result.absent} | | | | | |")
            continue
        seconds = statistics.median(result.seconds)
        cells = [
            NAMES[name],
            f"{seconds:.1f}",
            f"{recording.seconds / seconds:.1f}",
            f"{base / seconds:.2f}" if base else "",
            f"{100 * result.wrong / result.words:.2f}",
            str(result.invented),
            f"{result.mib:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    whole = results.get(MESH, Result())
    for name, result in results.items():
        if name.startswith("workers") and whole.seconds and result.seconds:
            ratio = statistics.median(whole.seconds) / statistics.median(result.seconds) - 1
            rows += ["", f"The mesh takes {100 * ratio:.1f} % longer than {name}."]
    if whole.first:
        rows += ["", f"First searchable {statistics.median(whole.first):.1f} s after the upload's last byte."]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
