"""What surrounds a search in our shard: start, rebuild, new chunks, ingest beside searches, many shards, many searches.

    python -m bench.index.shard [--rows 100000] [--only start,rebuild,fresh,ingest,shards,together] [--json result.json]

Chunks here have the hearings' words and sentence vectors, so both legs are built, checked and opened. Every part makes
what it needs; the folder of the shard is kept in the cache. Nothing is asserted: `wanted` is printed beside `got`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from bench.index import data, texts, wanted
from bench.index.ours import folder as index
from bench.index.ours import spoken
from bench.index.ours.measured import fresh, ingest, rebuild, shards, start, together
from services.common import logs

Numbers = dict[str, Any]
PARTS = ("start", "rebuild", "fresh", "ingest", "shards", "together")


def main() -> None:
    """Measures and prints Markdown."""
    arguments = parse()
    logs.configure("bench", level="error", fmt="console")
    found = data.dataset(data.Recipe(arguments.rows, arguments.texts), arguments.cache)
    shard = arguments.cache / f"shard-{arguments.rows}-texts-{arguments.texts}{arguments.kind and '-' + arguments.kind}"
    before = machine.describe()
    made = make(shard, found, arguments) if {"start", "ingest"} & set(arguments.only) else {}
    work = Path(tempfile.mkdtemp(prefix="shard-", dir=arguments.cache))
    parts: dict[str, Callable[[], Any]] = {
        "start": lambda: start.measure(shard, work, rounds=arguments.rounds, copies=arguments.copies),
        "rebuild": lambda: rebuild.measure(work, found, chunks=arguments.documents),
        "fresh": lambda: fresh.measure(work, found),
        "ingest": lambda: ingest.measure(shard, work, found, rounds=arguments.rounds),
        "shards": lambda: shards.measure(work, found, rounds=arguments.rounds),
        "together": lambda: together.measure(work, found, rounds=arguments.rounds),
    }
    results: dict[str, Numbers] = {"made": made}
    try:
        for name in arguments.only:
            results[name] = uvloop.run(parts[name]())
            print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(results[name])}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        show(results, arguments)
        print(f"\nbefore: {before}\nafter: {machine.describe()}")


def make(shard: Path, found: data.Dataset, arguments: argparse.Namespace) -> Numbers:
    """Makes the shard's folder, once."""
    facts = shard / "made.json"
    if not facts.exists():
        shutil.rmtree(shard, ignore_errors=True)
        begun, cpu = time.perf_counter(), time.process_time()
        infos = {one: index.info(number) for number, one in enumerate(_ids(found))}
        policy = index.policy_of(arguments.kind, arguments.build_threads)
        index.write(shard, (video.batch() for video in spoken.videos(found.corpus)), infos, policy)
        taken = {"seconds": time.perf_counter() - begun, "CPU s": time.process_time() - cpu}
        size = sum(path.stat().st_size for path in shard.rglob("*") if path.is_file())
        facts.write_text(json.dumps({"rows": found.corpus.rows, "bytes": size, **taken}))
    made: Numbers = json.loads(facts.read_text())
    return made


def _ids(found: data.Dataset) -> list[str]:
    return [index.video_id(number) for number in range(-(-found.corpus.rows // spoken.CHUNKS_A_VIDEO) + 1)]


def show(results: dict[str, Numbers], arguments: argparse.Namespace) -> None:
    for name, numbers in results.items():
        print(f"\n{name}: {json.dumps(numbers, indent=1)}")
    print()
    print(wanted.table(wanted.of_shard(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine.describe(), **results}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=20_000, help="real texts among the rows")
    parser.add_argument("--documents", type=int, default=20_000, help="chunks in the database for the rebuild")
    parser.add_argument("--only", type=lambda given: given.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--kind", default="", help="of the segment: ivf, ivf_rabitq, hnsw, flat")
    parser.add_argument("--copies", type=int, default=1, help="segments that the shard that is started has, all alike")
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=texts.DEFAULT_CACHE)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
