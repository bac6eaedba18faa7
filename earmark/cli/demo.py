"""`earmark demo`: what `make run` shows."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_plus

import typer
from rich.markup import escape
from rich.text import Text

from earmark.cli import common
from earmark.cli.format import clock, marked
from earmark.cli.ingest import ingest_with_view
from earmark.cli.media import NoSuchSource, Source, sources
from earmark.cli.mesh import AsrModel, Port, mesh_options, say_where, start_detached
from earmark.client import Client, Hit, Video
from earmark.local import state as states
from earmark.local.paths import DataDir

TOLERANCE_SECONDS = 5.0
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Question:
    """A question to which the samples hold the answer, said between `start` and `end` seconds of `title`."""

    question: str
    title: str
    start: float
    end: float

    def answered_by(self, hit: Hit) -> bool:
        """Whether a hit is in the right video at the right second."""
        early, late = self.start - TOLERANCE_SECONDS, self.end + TOLERANCE_SECONDS
        return hit.title == self.title and early <= hit.match_time <= late


def demo(
    samples: Annotated[Path, typer.Option(help="Folder of the samples.")] = _CHECKOUT / "samples",
    port: Port = 8080,
    asr_model: AsrModel = None,
    data_dir: common.Data = None,
) -> None:
    """Starts the mesh, ingests the samples, and asks them three questions.

    Leaves the mesh running. Ends with 1 when an answer is wrong.
    """
    data = DataDir.resolve(data_dir)
    mesh = states.running(data)
    if mesh and mesh.state == states.SERVING:
        say_where(mesh, data)
    else:
        mesh = start_detached(data, mesh_options(port, asr_model))
    titles, questions = read_questions(samples / "questions.json")
    key = common.api_key(None, data_dir)
    with Client(mesh.http_url, key=key) as client:
        _ingest_missing(client, samples, titles, key)
        right = [_ask(client, question) for question in questions]
    example = f"{mesh.http_url}/search?q={quote_plus(questions[0].question)}" if questions else mesh.http_url
    common.out.print(f"\nThe same from a shell:\n  curl -s '{example}'", soft_wrap=True, markup=False)
    common.out.print(
        f"The page: [bold link={mesh.http_url}]{mesh.http_url}[/]   End the mesh: make stop (or earmark down)"
    )
    if not all(right):
        common.fail(f"{right.count(False)} of {len(right)} answers are not the expected ones.")


def read_questions(path: Path) -> tuple[dict[str, str], list[Question]]:
    """The title of each sample by its file name, and the questions of the demo.

    Ends the command when the file is missing or wrong.
    """
    try:
        rows = json.loads(path.read_text())
        titles = {row["video"]: row["title"] for row in rows}
        shown = [
            Question(row["question"], row["title"], float(row["start"]), float(row["end"]))
            for row in rows
            if row.get("demo")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        common.fail(f"the samples' questions cannot be read from {path}: {error}")
    return titles, shown


def _ingest_missing(client: Client, samples: Path, titles: dict[str, str], key: str) -> None:
    """Ingests the samples that the mesh does not have; waits for those that are on their way."""
    have = {video.source.sha256: video for video in client.list() if video.source.sha256}
    missing: list[Source] = []
    on_their_way: list[Video] = []
    try:
        found = sources([str(samples)])
    except NoSuchSource as error:
        common.fail(str(error))
    for source in found:
        assert source.path is not None  # a folder holds files
        video = have.get(hashlib.sha256(source.path.read_bytes()).hexdigest())
        if video is None:
            missing.append(replace(source, title=titles.get(source.path.name, "")))
        elif video.status == "failed":
            client.retry(video.video_id)
            on_their_way.append(video)
        elif not video.settled:
            on_their_way.append(video)
    outcomes = ingest_with_view(client.base_url, missing, key=key) if missing else []
    for video in on_their_way:
        for _ in client.watch(video.video_id):
            pass
    if bad := [outcome for outcome in outcomes if not outcome.well]:
        common.fail("\n".join(f"{outcome.source.label}: {outcome.reason}" for outcome in bad))


def _ask(client: Client, question: Question) -> bool:
    begun = time.perf_counter()
    result = client.search(question.question, limit=3)
    took = (time.perf_counter() - begun) * 1000
    common.out.print(f"\n[bold]{escape(question.question)}[/] [dim]{took:.0f} ms[/]")
    if not result.hits:
        common.out.print("  [red]✗[/] nothing found")
        return False
    best = result.hits[0]
    right = question.answered_by(best)
    mark = "[green]✓[/]" if right else "[red]✗[/]"
    common.out.print(f"  {mark} [bold]{escape(best.title)}[/] at [cyan]{clock(best.match_time)}[/]")
    begin = best.sentence.start if best.sentence else None
    common.out.print(Text.assemble("    ", marked(best.text, best.highlights, width=220, begin=begin)))
    common.out.print(f"    {best.links.get('page', '')}", style="dim", soft_wrap=True, markup=False)
    if not right:
        common.out.print(
            f"    expected: {escape(question.title)} between {clock(question.start)} and {clock(question.end)}"
        )
    return right
