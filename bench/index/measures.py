"""What is measured of each engine, in which order, and what becomes of the numbers."""

from __future__ import annotations

import bisect
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.index.data import EXTRA, SHARES, Dataset, K
from bench.index.engine import BUILT_BY
from bench.index.process import Failed, Process

IN_FLIGHT = 32
ADD_BLOCK = 100
BUILT = "built.json"
"""In an engine's folder, once it is whole: what building it took."""
DELETES = 5
"""Deletes that are timed, of `ADD_BLOCK` rows each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes.

    Attributes:
        rounds: engines take turns this often, so that a busy machine is as busy for all of them.
        questions: asked of an engine in a round, and as many with each filter.
        turn_seconds: after which a slow engine's turn ends early.
        build_seconds: after which an engine is given up.
        recall: that every engine is tuned to, the least effort that reaches it.
        threads: of every engine.
        memory_gib: an engine that takes more is given up.
        pythons: the interpreter for each engine.
        folder: for the engines' files.
        keep: what is built stays in `folder`, and what another run built there is not built again.
    """

    rounds: int
    questions: int
    turn_seconds: float
    build_seconds: float
    recall: float
    threads: int
    memory_gib: float
    pythons: dict[str, Path]
    folder: Path
    keep: bool = False


@dataclass(slots=True)
class Result:
    """What was measured of an engine: numbers by name, and why some are missing."""

    name: str
    numbers: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def run(names: Sequence[str], data: Dataset, plan: Plan) -> list[Result]:
    """Builds one engine after the other, then opens all and lets them take turns.

    Interrupted, it gives what was measured until then.
    """
    results = {name: Result(name) for name in names}
    opened: dict[str, Process] = {}
    try:
        for result in results.values():
            builder = results.get(BUILT_BY.get(result.name, ""))
            _attempt(result, "build", lambda result=result, builder=builder: _build(result, builder, data, plan))  # type: ignore[misc]
            if "build" not in result.missing:
                _attempt(result, "open", lambda result=result: opened.update(_open(result, data, plan)))  # type: ignore[misc]
            _say(result.name, result.numbers | result.missing)
        for number in range(plan.rounds):
            turns = list(opened.items()) if number % 2 == 0 else list(opened.items())[::-1]
            for name, process in turns:
                for what, order in _orders(data, plan, number).items():
                    if what not in results[name].missing:
                        _attempt(results[name], what, lambda: _turn(results[name], process, what, order, plan))  # noqa: B023
        for name, process in opened.items():
            _finish(results[name], process, data, plan)
            _say(name, results[name].numbers | results[name].missing)
    except KeyboardInterrupt:
        for result in results.values():
            _summarize(result, data)
            result.missing["more"] = "interrupted"
    finally:
        for process in opened.values():
            process.close()
    return list(results.values())


def _attempt(result: Result, what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except Failed as why:
        result.missing[what] = str(why)


def _build(result: Result, builder: Result | None, data: Dataset, plan: Plan) -> None:
    if builder is not None and "build s" in builder.numbers:
        result.numbers |= {name: builder.numbers[name] for name in ("build s", "peak bytes")}
        return
    kept = _folder(result, plan) / BUILT
    if kept.exists():
        result.numbers |= json.loads(kept.read_text())
        return
    if plan.keep:
        shutil.rmtree(kept.parent, ignore_errors=True)  # of a build that was interrupted
    process = _start(result, data, plan)
    try:
        answer = process.order("build", plan.build_seconds, room=EXTRA)
    finally:
        process.close()
    numbers = {"build s": answer["seconds"], "peak bytes": answer["peak"] / data.corpus.rows}
    kept.write_text(json.dumps(numbers))
    result.numbers |= numbers


def _folder(result: Result, plan: Plan) -> Path:
    return plan.folder / BUILT_BY.get(result.name, result.name).replace(" ", "-").replace(",", "-")


def _start(result: Result, data: Dataset, plan: Plan) -> Process:
    return Process(
        result.name,
        python=plan.pythons[result.name],
        folder=_folder(result, plan),
        data=data.folder,
        threads=plan.threads,
        memory_gib=plan.memory_gib,
    )


def _open(result: Result, data: Dataset, plan: Plan) -> dict[str, Process]:
    process = _start(result, data, plan)
    try:
        result.numbers["open s"] = process.order("open")["seconds"]
        _tune(result, process, data, plan)
        memory = process.order("memory")
    except BaseException:
        process.close()
        raise
    result.numbers |= {f"{kind} bytes": memory[kind] / data.corpus.rows for kind in ("resident", "own")}
    return {result.name: process}


def _tune(result: Result, process: Process, data: Dataset, plan: Plan) -> None:
    """The least effort that reaches the recall (found by halving: more effort never finds less); else the greatest."""
    values = process.order("efforts")["values"]

    def reaches(value: int) -> bool:
        process.order("effort", value=value)
        answer = process.order("ask", first=0, count=len(data.queries), k=K, budget=5 * plan.turn_seconds)
        return data.truths[None].recall(answer["ids"], data.queries, data.corpus) >= plan.recall

    chosen = values[min(bisect.bisect_left(values, True, key=reaches), len(values) - 1)]
    process.order("effort", value=chosen)
    result.numbers["effort"] = chosen


def _orders(data: Dataset, plan: Plan, number: int) -> dict[str, dict[str, Any]]:
    """What an engine is asked in one round."""
    count = plan.questions
    common = {"first": number * count % (len(data.queries) - count + 1), "k": K, "budget": plan.turn_seconds}
    orders: dict[str, dict[str, Any]] = {"one": {"do": "ask", "count": count, **common}}
    orders["many"] = {"do": "ask_many", "count": 10 * len(data.queries), "batch": IN_FLIGHT, **common}
    for share in SHARES:
        orders[f"{share:.1%}"] = {"do": "ask", "count": count, "below": data.below[share], **common}
    return orders


def _turn(result: Result, process: Process, what: str, order: dict[str, Any], plan: Plan) -> None:
    answer = process.order(limit=10 * plan.turn_seconds + 60, **order)
    result.turns.setdefault(what, []).append({"order": order, "answer": answer})


def _finish(result: Result, process: Process, data: Dataset, plan: Plan) -> None:
    """Numbers from the turns; then what changes the index, unless that is kept."""
    _summarize(result, data)
    if plan.keep:
        return

    def add() -> None:
        answer = process.order("add", 600, rows=EXTRA, size=ADD_BLOCK, budget=5 * plan.turn_seconds)
        result.numbers["adds/s"] = answer["rows"] / answer["seconds"]

    def delete() -> None:
        doomed = np.random.default_rng(5).choice(data.corpus.rows, (DELETES, ADD_BLOCK), replace=False)
        seconds = [process.order("delete", 600, ids=ids.tolist())["seconds"] for ids in doomed]
        result.numbers["delete ms"] = 1000 * float(np.median(seconds))
        found = process.order("ask", first=0, count=100, k=K, budget=plan.turn_seconds)["ids"]
        if np.isin(doomed, [row for answer in found for row in answer]).any():
            raise Failed("found what was deleted")

    _attempt(result, "adds/s", add)
    _attempt(result, "delete ms", delete)


def _summarize(result: Result, data: Dataset) -> None:
    for what, turns in result.turns.items():
        if what not in result.missing:
            result.numbers |= {f"{what} {name}": value for name, value in _summary(turns, data).items()}


def _summary(turns: list[dict[str, Any]], data: Dataset) -> dict[str, float]:
    """Medians over the rounds; p99 and recall over all questions."""
    first = turns[0]["order"]
    below = first.get("below")
    recalls = []
    for turn in turns:
        ids = turn["answer"]["ids"][: len(data.queries) - turn["order"]["first"]]
        recalls.append(data.truths[below].recall(ids, data.queries, data.corpus, turn["order"]["first"], below))
    numbers = {"recall": float(np.mean(recalls))}
    if first["do"] == "ask_many":
        rates = [len(turn["answer"]["ids"]) / turn["answer"]["seconds"] for turn in turns]
    else:
        seconds = [np.array(turn["answer"]["seconds"]) for turn in turns]
        rates = [len(part) / part.sum() for part in seconds]
        numbers["p50 ms"] = 1000 * float(np.median([np.median(part) for part in seconds]))
        numbers["p99 ms"] = 1000 * float(np.percentile(np.concatenate(seconds), 99))
    # Whoever else uses the machine delays answers; processor time he lengthens less.
    cpu = [turn["answer"]["cpu"] / len(turn["answer"]["ids"]) for turn in turns]
    return numbers | {"QPS": float(np.median(rates)), "CPU ms": 1000 * float(np.median(cpu))}


def _say(name: str, numbers: dict[str, Any]) -> None:
    shown = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers.items()
    )
    print(f"{time.strftime('%H:%M:%S')} {name}: {shown}", file=sys.stderr, flush=True)
