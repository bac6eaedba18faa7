"""The proof of concept and the mesh in one run, on the same files: seconds to ingest, word errors, search times.

python -m bench                      starts a mesh of its own, and ends it
python -m bench --url http://…       measures one that runs (it should be empty)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import corpus, machine, mesh
from bench.corpus import Recording
from bench.poc import ProofOfConcept
from earmark.local import models

WARM_UP = 20
BUSY_LOAD_PER_CORE = 0.3
RIGHT_WITHIN_SECONDS = 30
LEGS = ("total_ms", "embed_ms", "shards_ms", "fuse_ms")


@dataclass(slots=True)
class Figures:
    """What was measured, PoC and mesh. Seconds, but for the gateway's own milliseconds."""

    poc_ingest: list[float] = field(default_factory=list)
    mesh_ingest: list[float] = field(default_factory=list)
    mesh_first: list[float] = field(default_factory=list)
    poc_errors: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    mesh_errors: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    poc_search: list[float] = field(default_factory=list)
    mesh_search: list[float] = field(default_factory=list)
    breakdown: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    poc_right: int = 0
    mesh_right: int = 0
    questions: int = 0


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="gateway of a mesh that runs; without it one is started in a temporary folder")
    parser.add_argument("--files", nargs="+", type=Path, help="only files of this name, of those there are")
    parser.add_argument("--samples-only", action="store_true", help="leave ../shared/media out")
    parser.add_argument("--repeats", type=int, default=1, help="ingests of each, in turn; medians are shown")
    parser.add_argument("--queries", type=int, default=300, help="searches of each, in turn (at least 200)")
    parser.add_argument("--json", type=Path, help="write every single figure there")
    arguments = parser.parse_args()
    if arguments.queries < 200:
        parser.error("--queries: a p99 of fewer than 200 is the slowest two")
    recordings = corpus.samples() + ([] if arguments.samples_only else corpus.shared())
    if arguments.files:
        names = {path.name for path in arguments.files}
        recordings = [recording for recording in recordings if recording.path.name in names]
    if not recordings:
        parser.error("no file is left to measure")
    # A plain SIGTERM would leave the mesh behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    before, busy = machine.describe(), machine.load_per_core() > BUSY_LOAD_PER_CORE
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-bench-")))
        found = models.ensure(folder / "models")
        url = (arguments.url or stack.enter_context(mesh.started_mesh(folder))).rstrip("/")
        tell("loading the proof of concept")
        poc = ProofOfConcept(found.asr, found.embedding)
        figures = Figures()
        videos = measure_ingest(figures, poc, url, recordings, arguments.repeats)
        measure_search(figures, poc, url, recordings, arguments.queries)
        measure_answers(figures, poc, url, {recording.path.name for recording in recordings})
        mesh.delete(url, list(videos.values()))
    print(table(figures, recordings, arguments.repeats))
    if busy:
        # Threads of the proof of concept spin for each other: on a shared machine it loses far more than the mesh does.
        print("\n**The machine was busy with other things before this run: neither the times nor the ratios hold.**")
    print(f"\nBefore: {before}\n\nAfter: {machine.describe()}")
    if arguments.json:
        arguments.json.write_text(json.dumps(vars_of(figures), indent=1) + "\n", encoding="utf-8")


def measure_ingest(
    figures: Figures, poc: ProofOfConcept, url: str, recordings: list[Recording], repeats: int
) -> dict[str, str]:
    """Both ingest all files, in turn and never at once; gives the ids of the videos left in the mesh."""
    paths = [recording.path for recording in recordings]
    heard_poc: dict[str, str] = {}
    done = mesh.Ingested({}, 0, 0)
    for turn in range(repeats):
        # Who goes first changes: a machine warms up, or gets busier.
        for who in ("poc", "mesh") if turn % 2 == 0 else ("mesh", "poc"):
            if who == "poc":
                poc.clear()
                tell(f"proof of concept: {len(paths)} files")
                begun = time.perf_counter()
                heard_poc = poc.ingest(paths)
                figures.poc_ingest.append(time.perf_counter() - begun)
            else:
                mesh.delete(url, list(done.videos.values()))
                tell(f"mesh: {len(paths)} files")
                done = asyncio.run(mesh.ingest(url, paths))
                figures.mesh_ingest.append(done.seconds)
                figures.mesh_first.append(done.seconds_to_first_searchable)
    for recording in recordings:
        heard = {
            "poc": heard_poc[recording.path.name],
            "mesh": mesh.transcript(url, done.videos[recording.path.name]),
        }
        for totals, text in ((figures.poc_errors, heard["poc"]), (figures.mesh_errors, heard["mesh"])):
            errors, words = corpus.word_errors(recording, text)
            totals[recording.group][0] += errors
            totals[recording.group][1] += words
    return done.videos


def measure_search(figures: Figures, poc: ProofOfConcept, url: str, recordings: list[Recording], count: int) -> None:
    """The same queries to both, one after the other, by turns first."""
    tell(f"{count} searches")
    asked = queries(recordings, count + WARM_UP)
    connection = mesh.SearchConnection(url)
    for number, query in enumerate(asked):
        timings = {}
        answer: dict[str, Any] = {}
        for who in ("poc", "mesh") if number % 2 else ("mesh", "poc"):
            begun = time.perf_counter()
            if who == "poc":
                poc.search(query)
            else:
                answer = connection.search(query)
            timings[who] = time.perf_counter() - begun
        if number < WARM_UP:
            continue
        figures.poc_search.append(timings["poc"])
        figures.mesh_search.append(timings["mesh"])
        for leg in LEGS:
            figures.breakdown[leg].append(answer["timing"][leg])
    connection.close()


def measure_answers(figures: Figures, poc: ProofOfConcept, url: str, names: set[str]) -> None:
    """The samples' questions: is the first answer in the right file, and where it says to press play within 30 s?"""
    rows = json.loads((corpus.SAMPLES / "questions.json").read_text(encoding="utf-8"))
    connection = mesh.SearchConnection(url)
    for row in rows:
        if row["video"] not in names:
            continue
        figures.questions += 1
        piece = poc.search(row["question"])[0][0]
        figures.poc_right += piece.file == row["video"] and is_right(piece.start, row)
        hits = connection.search(row["question"])["hits"]
        title = Path(row["video"]).stem
        figures.mesh_right += bool(hits) and hits[0]["title"] == title and is_right(hits[0]["match_time"], row)
    connection.close()


def is_right(second: float, row: dict[str, Any]) -> bool:
    """Whether playing from `second` on, the answer starts within 30 s, or one is in the middle of it."""
    return bool(row["start"] - RIGHT_WITHIN_SECONDS <= second <= row["end"])


def queries(recordings: list[Recording], count: int) -> list[str]:
    """The samples' questions, and phrases of 2 to 8 words from the reference texts; the same in every run."""
    chance = random.Random(2)
    found = [row["question"] for row in json.loads((corpus.SAMPLES / "questions.json").read_text(encoding="utf-8"))]
    while len(found) < count:
        words = chance.choice(recordings).reference.split()
        first = chance.randrange(max(1, len(words) - 8))
        found.append(" ".join(words[first : first + chance.randint(2, 8)]))
    chance.shuffle(found)
    return found[:count]


def table(figures: Figures, recordings: list[Recording], repeats: int) -> str:
    """The figures as Markdown; the ratio is mesh to proof of concept, below 1 is better."""
    seconds = sum(recording.seconds for recording in recordings)
    rows = [("", "proof of concept", "mesh", "ratio"), ("---", "---:", "---:", "---:")]

    def row(what: str, poc: float, mesh: float, form: str) -> None:
        rows.append((what, format(poc, form), format(mesh, form), f"{mesh / poc:.2f}" if poc else "-"))

    def spread(values: list[float]) -> str:
        return f"{min(values):.1f} to {max(values):.1f}"

    poc_seconds, mesh_seconds = statistics.median(figures.poc_ingest), statistics.median(figures.mesh_ingest)
    row(f"ingest of {len(recordings)} files, {seconds / 60:.1f} min, s", poc_seconds, mesh_seconds, ".1f")
    if repeats > 1:
        rows.append((f"… of {repeats}, from to", spread(figures.poc_ingest), spread(figures.mesh_ingest), ""))
    row("… times real time", seconds / poc_seconds, seconds / mesh_seconds, ".1f")
    rows.append(("first minute searchable after, s", "-", f"{statistics.median(figures.mesh_first):.1f}", ""))
    for group in figures.poc_errors:
        (poc_wrong, words), (mesh_wrong, _) = figures.poc_errors[group], figures.mesh_errors[group]
        row(f"WER, {group} ({words} words), %", 100 * poc_wrong / words, 100 * mesh_wrong / words, ".2f")
    for percent in (50, 99):
        poc_ms, mesh_ms = (1000 * float(np.percentile(v, percent)) for v in (figures.poc_search, figures.mesh_search))
        row(f"search p{percent} of {len(figures.poc_search)}, ms (mesh: over HTTP)", poc_ms, mesh_ms, ".2f")
    for leg in LEGS:
        values = figures.breakdown[leg]
        p50, p99 = np.percentile(values, 50), np.percentile(values, 99)
        rows.append((f"… the gateway's {leg.removesuffix('_ms')} p50 / p99, ms", "", f"{p50:.2f} / {p99:.2f}", ""))
    total = figures.questions
    if total:
        rows.append((f"right answer first (of {total})", f"{figures.poc_right}", f"{figures.mesh_right}", ""))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def vars_of(figures: Figures) -> dict[str, Any]:
    """The figures as plain types."""
    return {name: getattr(figures, name) for name in Figures.__dataclass_fields__}


def tell(what: str) -> None:
    """Says on standard error what is under way."""
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
