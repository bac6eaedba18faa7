"""What the index is wanted to do, beside what was measured. Nothing is asserted: the machine decides too much.

python -m bench.index.wanted ENGINES.json SHARD.json     of what bench.index and bench.index.shard wrote
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

RECALL = 0.98
BARE = "FAISS"
GRAPHS = ("FAISS HNSW32", "hnswlib", "usearch f32")
"""Of float32 numbers; the first of them that was measured is what memory is compared with."""
OURS = "Earmark"
TUNED = "Earmark tuned"
"""Ours told how far to look with the very questions, as the peers are."""
MEGA = 1_000_000


class Line(NamedTuple):
    """A wish, what came of it, and whether that is enough; None where it was not measured."""

    wanted: str
    got: str
    enough: bool | None


def of_engines(engines: Sequence[dict[str, Any]], rows: int) -> list[Line]:
    """Gives the lines about searching beside the peers."""
    by_name = {engine["name"]: engine["numbers"] for engine in engines}
    ours = by_name.get(OURS, {})
    bare = {
        name: numbers
        for name, numbers in by_name.items()
        if name.startswith(BARE) and numbers.get("one recall", 0) >= RECALL
    }
    lines = []
    if bare:
        quickest, base = min(bare.items(), key=lambda item: item[1]["one p50 ms"])
        for name in (OURS, TUNED):
            if "one p50 ms" in (rpc := by_name.get(f"{name} gRPC", {})):
                more = rpc["one p50 ms"] - base["one p50 ms"]
                lines.append(Line(f"gRPC p50 ≤ bare FAISS + 1 ms ({name}; {quickest})", f"{more:+.2f} ms", more <= 1))
        quickest, base = max(bare.items(), key=lambda item: item[1]["many QPS"])
        for name in (f"{TUNED} gRPC", f"{TUNED} gRPC, client", f"{TUNED} gRPC, batch"):
            if "many QPS" in (rpc := by_name.get(name, {})):
                share = rpc["many QPS"] / base["many QPS"]
                title = f"QPS at 32 in flight ≥ 0.8 × bare FAISS ({name}; {quickest})"
                lines.append(Line(title, f"{share:.2f}", share >= 0.8))
    lines.append(_fastest(by_name, rows))
    graph = next((name for name in GRAPHS if "resident bytes" in by_name.get(name, {})), None)
    if graph and "resident bytes" in ours:
        share = ours["resident bytes"] / by_name[graph]["resident bytes"]
        lines.append(Line(f"memory ≤ half of {graph}, float32", f"{share:.2f}", share <= 0.5))
    if {"1.0% recall", "1.0% p50 ms", "one p50 ms"} <= ours.keys():
        recall, slower = ours["1.0% recall"], ours["1.0% p50 ms"] / ours["one p50 ms"]
        lines.append(
            Line(
                "filter at 1 %: recall ≥ 0.99, p50 ≤ 2 ×",
                f"{recall:.4f}, {slower:.2f} ×",
                recall >= 0.99 and slower <= 2,
            )
        )
    return lines


def _fastest(by_name: dict[str, dict[str, float]], rows: int) -> Line:
    """Whether one of ours, in process, is quicker than every peer at the recall wanted."""
    title = f"recall ≥ 0.98 on 1 M, faster than every peer (here {rows:,} rows, p50)"
    ours = {
        name: numbers["one p50 ms"]
        for name, numbers in by_name.items()
        if name.startswith(OURS) and "gRPC" not in name and numbers.get("one recall", 0) >= RECALL
    }
    peers = {
        name: numbers["one p50 ms"]
        for name, numbers in by_name.items()
        if not name.startswith(OURS) and numbers.get("one recall", 0) >= RECALL
    }
    if not ours or not peers:
        return Line(title, "not measured", None)
    mine, best = min(ours, key=lambda name: ours[name]), min(peers, key=lambda name: peers[name])
    got = f"{mine} {ours[mine]:.2f} ms; quickest peer {best} {peers[best]:.2f} ms"
    return Line(title, got, ours[mine] < peers[best] if rows >= MEGA else None)


def of_shard(results: dict[str, dict[str, Any]]) -> list[Line]:
    """Gives the lines about what surrounds a search."""
    lines = []
    if start := results.get("start"):
        ready = start["warm: ready s"]
        rows = start["chunks"]
        got = f"{ready:.1f} s for {rows:,} (cold files {start['cold: ready s']:.1f} s)"
        lines.append(Line("start of 1 M chunks ≤ 5 s to ready", got, ready <= 5 if rows >= MEGA else None))
    if rebuild := results.get("rebuild"):
        rate, alone = rebuild["rebuilt/s"], rebuild["read, raw/s"]
        got = f"{rate:,.0f} ({rebuild['database']} alone gives {alone:,.0f}; without it {_without(rebuild):,.0f})"
        lines.append(Line("rebuild from MongoDB ≥ 20,000 chunks/s", got, rate >= 20_000))
    if fresh := results.get("fresh"):
        worst = fresh["from the event: p95 ms"]
        got = f"p50 {fresh['from the event: p50 ms']:.0f} ms, p95 {worst:.0f} ms"
        lines.append(Line("new chunk searchable ≤ 200 ms after its event", got, worst <= 200))
    if ingest := results.get("ingest"):
        got = f"{ingest['p99 ratio']:.2f} × at {ingest['ingested/s']:,.0f}/s"
        lines.append(Line("2,000 chunks/s cost search p99 ≤ 2 ×", got, ingest["p99 ratio"] <= 2))
    if shards := results.get("shards"):
        parts = [f"{count}: {one['CPU ms']:.1f}" for count, one in shards.items()]
        lines.append(Line("CPU ms a query by shards: report", "; ".join(parts), None))
    return lines


def _without(rebuild: dict[str, Any]) -> float:
    return float(rebuild["filled without a database/s"])


def table(lines: Sequence[Line]) -> str:
    """Gives the lines as Markdown."""
    shown = {True: "yes", False: "no", None: "–"}
    cells = [f"| {line.wanted} | {line.got} | {shown[line.enough]} |" for line in lines]
    return "\n".join(["| wanted | got | reached |", "| --- | --- | --- |", *cells])


def main() -> None:
    lines: list[Line] = []
    for path in map(Path, sys.argv[1:]):
        found = json.loads(path.read_text())
        if "engines" in found:
            lines += of_engines(found["engines"], found["rows"])
        else:
            lines += of_shard(found)
    print(table(lines))


if __name__ == "__main__":
    main()
