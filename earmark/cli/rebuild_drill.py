"""The rebuild drill: ask, build every replica anew from the documents, ask again, compare."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.markup import escape

from earmark.cli import common
from earmark.cli.format import seconds
from earmark.client import Client, EarmarkClientError, Hit, LegScore, SearchResult
from earmark.client.index import IndexDigests, RebuildAsked

TOLERANCE = 1e-3
"""By how much a score may differ: sums of floats come out otherwise in another order."""
TIE = 1e-5
"""Two hits whose legs score that much alike may stand either way round."""
HITS = 20
TITLES = 50
_SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "questions.json"
_LOOK_SECONDS = 0.2
_IDLE_SECONDS = 20.0
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A replica that was built anew, and how long that took."""

    shard: int
    replica: int
    seconds: float


@dataclass(slots=True)
class Report:
    """What came of a drill.

    Attributes:
        rebuilt: The replicas that were built anew.
        queries: How many questions were asked before and after.
        hits: How many hits they had.
        largest_difference: By how much a score differed at most, of the dense leg or fused.
        keyword_difference: The same of the keyword leg. BM25 counts words part by part, and a rebuilt index has other
            parts: the scores may shift, as long as the order stays.
        answers: What was answered otherwise, for people.
        digests: What a replica holds otherwise, for people.
        slots: How many slots of replicas were compared.
        events_between: Events that came meanwhile, for which an answer may rightly be another.
    """

    rebuilt: list[Rebuilt] = field(default_factory=list)
    queries: int = 0
    hits: int = 0
    largest_difference: float = 0.0
    keyword_difference: float = 0.0
    answers: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    slots: int = 0
    events_between: int = 0

    @property
    def same(self) -> bool:
        """Whether everything is as before."""
        return not self.answers and not self.digests

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {"same": self.same, **asdict(self)}


def run(client: Client, *, shard: int | None, replica: int | None, queries: Path | None, quiet: bool = False) -> Report:
    """Runs the drill on every replica, those of a shard, or one of them; ends the command when one cannot be."""
    report = Report()
    asked = read_queries(queries) if queries else _default_queries(client)
    if not asked:
        common.fail("there is nothing to ask: no video is ready. Give questions with --queries, or ingest something.")
    before, digests = _ask(client, asked), client.index.digests()
    for place in _places(client, shard, replica):
        if not quiet:
            common.out.print(f"building s{place[0]}r{place[1]} anew …")
        begun = time.monotonic()
        (order,) = client.index.rebuild(*place)
        _await(client, order)
        report.rebuilt.append(Rebuilt(*place, round(time.monotonic() - begun, 3)))
    compare(report, before, _ask(client, asked))
    compare_digests(report, digests, client.index.digests())
    return report


def say(report: Report) -> None:
    """Says what came of it."""
    for one in report.rebuilt:
        common.out.print(f"s{one.shard}r{one.replica} was built anew in {seconds(one.seconds)}")
    _verdict(
        report.answers,
        f"{report.queries} questions have the same {report.hits} hits in the same order, scores within"
        f" {report.largest_difference:.1g}",
        f"of {report.queries} questions, answers differ",
    )
    if report.keyword_difference > TOLERANCE and not report.answers:
        common.out.print(
            f"[dim]BM25 scores shifted by {report.keyword_difference:.2g} at most: words are counted part by part, and"
            " the parts are others now.[/]"
        )
    _verdict(report.digests, f"{report.slots} slots hold the same, by count and digest", "slots differ")
    if report.events_between:
        common.err.print(
            f"[yellow]![/] {report.events_between} events came meanwhile: what they changed may rightly differ."
            " Run it again while nothing is ingested."
        )


def read_queries(path: Path) -> list[str]:
    """Reads questions: JSON (a list of texts, or of objects with `question` or `query`), or one a line.

    Ends the command when the file cannot be read.
    """
    try:
        text = path.read_text()
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        return [row if isinstance(row, str) else str(row.get("question") or row["query"]) for row in json.loads(text)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        common.fail(f"the questions cannot be read from {path}: {error}")


def compare(report: Report, before: Sequence[SearchResult], after: Sequence[SearchResult]) -> None:
    """Compares answers, question by question, and notes what differs."""
    report.queries = len(before)
    for old, new in zip(before, after, strict=True):
        for name, answer in (("before", old), ("after", new)):
            if not answer.coverage.complete:
                report.answers.append(f"{old.query!r}: not every shard answered {name} the rebuild")
        hits, others = _flat(old), _flat(new)
        report.hits += len(hits)
        if {hit.chunk_id for hit in hits} != {hit.chunk_id for hit in others}:
            lost = sorted({hit.chunk_id for hit in hits} - {hit.chunk_id for hit in others})
            found = sorted({hit.chunk_id for hit in others} - {hit.chunk_id for hit in hits})
            report.answers.append(f"{old.query!r}: no longer found {lost}, newly found {found}")
            continue
        by_id = {hit.chunk_id: hit for hit in others}
        for hit, other in zip(hits, others, strict=True):
            again = by_id[hit.chunk_id]
            difference = max(abs(hit.score - again.score), _apart(hit.semantic, again.semantic))
            keyword = _apart(hit.keyword, again.keyword)
            report.largest_difference = max(report.largest_difference, difference)
            report.keyword_difference = max(report.keyword_difference, keyword)
            if difference > TOLERANCE:
                report.answers.append(f"{old.query!r}: a score of {hit.chunk_id} differs by {difference:.3g}")
            elif math.isinf(keyword):
                report.answers.append(f"{old.query!r}: {hit.chunk_id} is found by another leg than before")
            elif hit.chunk_id != other.chunk_id and not _tied(hit, other):
                report.answers.append(f"{old.query!r}: {other.chunk_id} stands where {hit.chunk_id} stood")


def compare_digests(report: Report, before: IndexDigests, after: IndexDigests) -> None:
    """Compares what each replica holds, with what it held and with its fellow replicas, and notes what differs."""
    report.events_between = after.stream_sequence - before.stream_sequence
    held = {(one.shard, one.replica): one for one in before.replicas}
    model: dict[int, tuple[str, tuple[int, str]]] = {}
    for one in after.replicas:
        name = f"s{one.shard}r{one.replica}"
        if one.problem:
            report.digests.append(f"{name} does not say what it holds: {one.problem}")
            continue
        old = held.get((one.shard, one.replica))
        for slot, content in one.slots.items():
            report.slots += 1
            was = old.slots.get(slot) if old else None
            if was is not None and was != content:
                report.digests.append(f"slot {slot} of {name}: {was[0]} chunks before, {content[0]} now, or other ones")
            fellow, expected = model.setdefault(slot, (name, content))
            if content != expected:
                report.digests.append(f"slot {slot}: {name} and {fellow} hold other things")


def _default_queries(client: Client) -> list[str]:
    titles = [video.title for video in islice(client.list(status="ready", page_size=100), 500) if video.title]
    if _SAMPLES.is_file():
        rows = json.loads(_SAMPLES.read_text())
        if {row["title"] for row in rows} <= set(titles):
            return [row["question"] for row in rows]
    return list(dict.fromkeys(titles))[:TITLES]


def _ask(client: Client, queries: Sequence[str]) -> list[SearchResult]:
    return [client.search(query, limit=HITS) for query in queries]


def _places(client: Client, shard: int | None, replica: int | None) -> list[tuple[int, int]]:
    places = []
    for one in client.index.status().replicas:
        if shard in (None, one.shard) and replica in (None, one.replica):
            if not one.answers:
                common.fail(f"{one.name} does not answer ({one.problem}); start it first, then nothing is lost.")
            places.append((one.shard, one.replica))
    if not places:
        common.fail("There is no such replica; `earmark shards status` lists them.")
    return places


def _await(client: Client, order: RebuildAsked) -> None:
    """Waits until a replica has been built anew; ends the command when it does not."""
    name = f"s{order.shard}r{order.replica}"
    idle_since = time.monotonic()
    while True:
        try:
            here = [one for one in client.index.status().replicas if one.name == name]
        except EarmarkClientError as error:
            common.fail(f"{name} was being built anew when the gateway went: {error.message}")
        if not here or not here[0].answers:
            common.fail(f"{name} went away while it was built anew; it builds itself again when it starts.")
        if here[0].rebuilds < order.rebuilds:
            common.fail(f"{name} started again while it was built anew; run this again.")
        if here[0].rebuilds > order.rebuilds and not here[0].rebuilding and here[0].ready:
            return
        if here[0].rebuilding or here[0].rebuilds > order.rebuilds:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > _IDLE_SECONDS:
            common.fail(f"{name} does not build itself anew; its log says why.")
        threading.Event().wait(_LOOK_SECONDS)


def _flat(result: SearchResult) -> list[Hit]:
    return [one for hit in result.hits for one in (hit, *hit.more)]


def _tied(one: Hit, other: Hit) -> bool:
    return max(_apart(one.semantic, other.semantic), _apart(one.keyword, other.keyword)) <= TIE


def _apart(one: LegScore | None, other: LegScore | None) -> float:
    """By how much two scores of a leg differ; infinity when it found only one of the two."""
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one.score - other.score)


def _verdict(differences: Sequence[str], well: str, badly: str) -> None:
    if not differences:
        common.out.print(f"[green]✓[/] {escape(well)}")
        return
    common.err.print(f"[red]✗[/] {escape(badly)}:")
    for line in differences[:_SHOWN]:
        common.err.print(f"  {escape(line)}", soft_wrap=True)
    if len(differences) > _SHOWN:
        common.err.print(f"  and {len(differences) - _SHOWN} more")
