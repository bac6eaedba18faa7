"""The numbers as Markdown: ratios first, as they carry over to other machines; then what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from bench.index.data import SHARES
from bench.index.measures import Result

FILTERS = [f"{share:.1%}" for share in SHARES]
RATIOS = {
    "p50": "one p50 ms",
    "p99": "one p99 ms",
    "CPU, 1": "one CPU ms",
    "CPU, 32": "many CPU ms",
    "QPS, 1": "one QPS",
    "QPS, 32": "many QPS",
    "memory": "resident bytes",
    "build": "build s",
    "start": "open s",
    **{f"p50 at {kept}": f"{kept} p50 ms" for kept in FILTERS},
}
SEARCH = {
    "effort": ("effort", ".0f"),
    "recall@10": ("one recall", ".4f"),
    "p50 ms": ("one p50 ms", ".3f"),
    "p99 ms": ("one p99 ms", ".3f"),
    "CPU ms, 1": ("one CPU ms", ".3f"),
    "CPU ms, 32": ("many CPU ms", ".3f"),
    "QPS, 1": ("one QPS", ",.0f"),
    "QPS, 32": ("many QPS", ",.0f"),
}
KEEPING = {
    "build s": ("build s", ".1f"),
    "start s": ("open s", ".2f"),
    "memory, B a row": ("resident bytes", ",.0f"),
    "… without mapped files": ("own bytes", ",.0f"),
    "… most while building": ("peak bytes", ",.0f"),
    "rows added a second": ("adds/s", ",.0f"),
    "100 rows deleted, ms": ("delete ms", ".2f"),
}
FILTERED = {
    f"{kept} {title}": (f"{kept} {name}", form)
    for kept in FILTERS
    for title, name, form in (("recall", "recall", ".4f"), ("p50 ms", "p50 ms", ".3f"))
}


def render(results: Sequence[Result], reference: str) -> str:
    """Four tables and what is missing.

    Args:
        results: of all engines.
        reference: the engine that the ratios are to.
    """
    base = next((result for result in results if result.name == reference), None)
    parts = []
    if base is not None:
        lines = []
        for result in results:
            both = [(result.numbers.get(name), base.numbers.get(name)) for name in RATIOS.values()]
            lines.append([result.name, *("–" if not one or not other else f"{one / other:.2f}" for one, other in both)])
        parts.append(_markdown([f"÷ {reference}", *RATIOS], lines))
    for title, columns in (("search", SEARCH), ("with a filter", FILTERED), ("keeping", KEEPING)):
        parts.append(_markdown([title, *columns], [_cells(result, columns) for result in results]))
    reasons = [f"{result.name}: no {what}: {why}" for result in results for what, why in result.missing.items()]
    return "\n\n".join([*parts, "\n".join(reasons)])


def _cells(result: Result, columns: dict[str, tuple[str, str]]) -> list[str]:
    cells = [result.name]
    for name, form in columns.values():
        value = result.numbers.get(name)
        cells.append("–" if value is None else format(value, form))
    return cells


def _markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
