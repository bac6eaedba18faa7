"""The rebuild drill: ask, build every replica anew from the documents, ask again, compare.

By meaning, an answer is the same whichever replica gives it, and is compared strictly. By words it is not quite: BM25
counts words in each segment of an index, every replica is cut into others, and a question goes to whichever answers.
There it is wanted that what clearly belongs in the answer is found again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape

from earmark.cli import common
from earmark.cli.format import seconds
from earmark.client import Client, EarmarkClientError, Hit, SearchResult
from earmark.client.index import IndexDigests, RebuildAsked

TOLERANCE = 1e-3
"""By how much a score by meaning may differ: sums of floats come out otherwise in another order. Hits that score so
much alike may stand either way round."""
CLEARLY = 1.1
"""A hit by words that scores so many times what the last one shown does belongs in the answer however it is counted."""
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
        hits: How many hits they had by meaning.
        largest_difference: By how much a score by meaning differed at most.
        keyword_hits: How many hits by words had to be found again.
        keyword_difference: By how much a score by words shifted at most.
        keyword_changes: How many answers by words came in another order, or ended with other hits. That is no fault.
        answers: What was answered otherwise, for people.
        digests: What a replica holds otherwise, for people.
        slots: How many slots of replicas were compared.
        events_between: Events that came meanwhile, for which an answer may rightly be another.
    """

    rebuilt: list[Rebuilt] = field(default_factory=list)
    queries: int = 0
    hits: int = 0
    largest_difference: float = 0.0
    keyword_hits: int = 0
    keyword_difference: float = 0.0
    keyword_changes: int = 0
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


class Answers(NamedTuple):
    """What was answered to a question."""

    meaning: SearchResult
    words: SearchResult


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
        f"{report.queries} questions have the same {report.hits} hits by meaning, scores within"
        f" {report.largest_difference:.1g}, and the {report.keyword_hits} clear ones by words",
        f"of {report.queries} questions, answers differ",
    )
    if report.keyword_difference > TOLERANCE or report.keyword_changes:
        common.out.print(
            f"[dim]By words, scores shifted by {report.keyword_difference:.2g} at most, and {report.keyword_changes}"
            " answers have another order or end: BM25 counts words part by part, and the parts are others. That is no"
            " fault.[/]"
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


def compare(report: Report, before: Sequence[Answers], after: Sequence[Answers]) -> None:
    """Compares answers, question by question, and notes what differs."""
    report.queries = len(before)
    for old, new in zip(before, after, strict=True):
        for name, answers in (("before", old), ("after", new)):
            if not all(answer.coverage.complete for answer in answers):
                report.answers.append(f"{old.meaning.query!r}: not every shard answered {name} the rebuild")
        _compare_meaning(report, old.meaning, new.meaning)
        _compare_words(report, old.words, new.words)


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


def _ask(client: Client, queries: Sequence[str]) -> list[Answers]:
    return [
        Answers(*(client.search(query, limit=HITS, mode=mode) for mode in ("semantic", "keyword"))) for query in queries
    ]


def _compare_meaning(report: Report, old: SearchResult, new: SearchResult) -> None:
    """Strictly: the same hits in the same order with the same scores, but for those that score alike."""
    before, after = _scores(old), _scores(new)
    report.hits += len(before)
    wrong = []
    for one in before.keys() & after.keys():
        difference = abs(before[one] - after[one])
        report.largest_difference = max(report.largest_difference, difference)
        if difference > TOLERANCE:
            wrong.append(f"the score of {one} differs by {difference:.3g}")
    wrong += _differences(
        {hit.video_id: hit for hit in old.hits}, {hit.video_id: hit for hit in new.hits}, cut=bool(old.next_cursor)
    )
    again = {hit.video_id: hit for hit in new.hits}
    for hit in old.hits:
        if hit.video_id in again:
            mine, others = ({one.chunk_id: one for one in (top, *top.more)} for top in (hit, again[hit.video_id]))
            wrong += _differences(mine, others, cut=bool(hit.more))
    report.answers += [f"{old.query!r}: by meaning, {one}" for one in wrong]


def _differences(before: Mapping[str, Hit], after: Mapping[str, Hit], *, cut: bool) -> list[str]:
    """Says how a list of hits differs from another.

    Args:
        before: Hits by what they are told apart by, best first.
        after: The same, after the rebuild.
        cut: Whether there may be more behind the last: then one that scores like the last may stand for another.
    """
    lost = [hit for key, hit in before.items() if key not in after]
    found = [hit for key, hit in after.items() if key not in before]
    last = min(map(_score, before.values()), default=0.0)
    at_the_end = cut and all(abs(_score(hit) - last) <= TOLERANCE for hit in (*lost, *found))
    if len(lost) != len(found) or (lost and not at_the_end):
        names = [sorted(hit.chunk_id for hit in some) for some in (lost, found)]
        return [f"no longer found {names[0]}, newly found {names[1]}"]
    pairs = zip(before.items(), after.items(), strict=True)
    return [
        f"{other.chunk_id} stands where {hit.chunk_id} stood"
        for (key, hit), (other_key, other) in pairs
        if key != other_key and abs(_score(hit) - _score(other)) > TOLERANCE
    ]


def _compare_words(report: Report, old: SearchResult, new: SearchResult) -> None:
    """Leniently: what clearly belongs in the answer is found again; anything else is counted only."""
    before, after = _scores(old), _scores(new)
    videos = {hit.video_id for hit in new.hits}
    # Where nothing was left out there is no end at which hits could fall out of the answer.
    bar = CLEARLY * _score(old.hits[-1]) if old.hits and old.next_cursor else 0.0
    lost = []
    for first in old.hits:
        if _score(first) > bar and first.video_id not in videos:
            lost.append(first.chunk_id)
            continue
        own = CLEARLY * _score(first.more[-1]) if first.more else 0.0
        clear = [hit.chunk_id for hit in (first, *first.more) if _score(hit) > max(bar, own)]
        report.keyword_hits += len(clear)
        lost += [one for one in clear if one not in after]
    if lost:
        report.answers.append(f"{old.query!r}: by words, no longer found {lost}, which scored well above the last hit")
    for one in before.keys() & after.keys():
        report.keyword_difference = max(report.keyword_difference, abs(before[one] - after[one]))
    report.keyword_changes += list(before) != list(after)


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


def _scores(result: SearchResult) -> Mapping[str, float]:
    """The scores of all hits, in their order, by the ids of the chunks."""
    return {one.chunk_id: _score(one) for hit in result.hits for one in (hit, *hit.more)}


def _score(hit: Hit) -> float:
    """What the one leg that was asked says: the hit's own score only tells its rank."""
    leg = hit.semantic or hit.keyword
    return leg.score if leg else hit.score


def _verdict(differences: Sequence[str], well: str, badly: str) -> None:
    if not differences:
        common.out.print(f"[green]✓[/] {escape(well)}")
        return
    common.err.print(f"[red]✗[/] {escape(badly)}:")
    for line in differences[:_SHOWN]:
        common.err.print(f"  {escape(line)}", soft_wrap=True)
    if len(differences) > _SHOWN:
        common.err.print(f"  and {len(differences) - _SHOWN} more")
