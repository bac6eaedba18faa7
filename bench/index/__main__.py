"""Our shard, bare FAISS and other vector indexes on the same rows in one run.

    make bench-index [ARGS="--rows 1000000 --json result.json"]

Every engine runs in its own process with the same number of threads, is tuned to the same recall, and takes turns with
the others. Peers live in `.bench-venv` (requirements/bench-index.txt).
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench import machine
from bench.index import data, measures, table, texts, wanted
from bench.index.engine import ENGINES, OURS

REFERENCE = "FAISS IVF,SQfp16"
PEERS_PYTHON = Path(".bench-venv/bin/python")
BUSY = 0.5
"""Load per core before a run."""

SMALL = 100_000
FEW_TEXTS = 20_000
"""Real texts for small runs: embedding all 60,000 takes minutes to an hour, once."""


def main() -> None:
    """Measures and prints Markdown tables."""
    arguments = parse()
    count = arguments.texts or (FEW_TEXTS if arguments.rows <= SMALL else 60_000)
    found = data.dataset(data.Recipe(arguments.rows, count), arguments.cache)
    names = [
        name for name in ENGINES if not arguments.only or any(_meant(part, name) for part in arguments.only.split(";"))
    ]
    arguments.cache.mkdir(parents=True, exist_ok=True)
    folder = _folder(arguments, found)
    plan = measures.Plan(
        rounds=arguments.rounds,
        questions=arguments.questions,
        turn_seconds=arguments.turn_seconds,
        build_seconds=arguments.build_seconds,
        recall=arguments.recall,
        threads=arguments.threads,
        memory_gib=arguments.memory_gib,
        pythons={
            name: Path(sys.executable) if name.startswith(OURS) else arguments.peers_python.absolute() for name in names
        },
        folder=folder,
        keep=arguments.keep is not None,
    )
    before, busy = machine.describe(), machine.load_per_core()
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: print what there is
    try:
        results = measures.run(names, found, plan)
    finally:
        if not plan.keep:
            shutil.rmtree(folder, ignore_errors=True)
    after = machine.describe()
    print(
        f"{found.corpus.rows:,} rows of {found.corpus.dimension} dimensions ({count:,} real texts, the others moved"
        f" from them), {len(found.queries)} questions left out of the rows, recall@{data.K} ≥ {plan.recall},"
        f" {plan.threads} threads, {plan.rounds} rounds, {time.monotonic() - begun:.0f} s\n"
    )
    print(table.render(results, REFERENCE))
    print(f"\n{wanted.table(wanted.of_engines([asdict(result) for result in results], found.corpus.rows))}")
    print(f"\nbefore: {before}\nafter: {after}")
    if busy > BUSY:
        print("The machine was busy with other work before the run: believe ratios of medians only.")
    if arguments.json:
        whole = {
            "rows": found.corpus.rows,
            "texts": count,
            "machine": [before, after],
            "engines": [{key: value for key, value in asdict(result).items() if key != "turns"} for result in results],
        }
        arguments.json.write_text(json.dumps(whole, indent=1))


def _folder(arguments: argparse.Namespace, found: data.Dataset) -> Path:
    """Gives the folder for the engines' files, of this run alone or, with `--keep`, of all over the same rows."""
    if arguments.keep is None:
        return Path(tempfile.mkdtemp(prefix="engines-", dir=arguments.cache))
    folder: Path = arguments.keep / f"{found.folder.name}-threads-{arguments.threads}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _meant(part: str, name: str) -> bool:
    return part == name if part in ENGINES else part in name


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--texts", type=int, help=f"real texts; {FEW_TEXTS:,} for up to {SMALL:,} rows, else all")
    parser.add_argument("--only", default="", help='engines\' names or parts of them, for example "FAISS;hnswlib"')
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=200, help="asked of an engine in a round")
    parser.add_argument("--turn-seconds", type=float, default=2)
    parser.add_argument("--build-seconds", type=float, default=900)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--memory-gib", type=float, default=8, help="an engine that takes more is given up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=texts.DEFAULT_CACHE)
    parser.add_argument(
        "--keep",
        type=Path,
        help="keeps what engines built in this folder and takes it from there the next time, so that a long run can be"
        " made in parts (--only NAME --rounds 0); nothing is added or deleted then. Delete what an engine of another"
        " version built",
    )
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.peers_python.exists():
        sys.exit(f"{arguments.peers_python} is not there: make bench-index makes it")
    return arguments


if __name__ == "__main__":
    main()
