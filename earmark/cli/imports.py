"""`earmark import`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from earmark.cli import common
from earmark.cli.format import clock, seconds
from earmark.cli.importing import Options, Stopped, Tally, found_in, import_all, settled
from earmark.cli.transcripts import Problem, is_transcript
from earmark.client import AsyncClient, EarmarkClientError

_SHOWN_FAILURES = 50
_SAY_EVERY_SECONDS = 5.0


def import_transcripts(  # noqa: PLR0917  (typer reads options off the parameters)
    what: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Files (.vtt .srt .json .jsonl, also .gz) or folders, searched deeply."),
    ],
    collection: Annotated[str, typer.Option(help="The collection of those that name none.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for all of them; may be given often.")] = None,
    language: Annotated[str, typer.Option(help="Language of those that name none (ISO 639-1).")] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="How many at once.")] = 8,
    again: Annotated[
        bool, typer.Option("--again", help="Also what was imported before, as videos of its own.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the files and say what is in them.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all of it is searchable.")] = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Makes videos of transcripts that exist already: searchable, with nothing to play.

    Run again after an interruption it goes on: what is there is not imported twice. Ends with 1 when anything failed.
    """
    files = _files(what)
    options = Options(collection, language, tuple(tag or ()), concurrency, again)
    tally = Tally()
    begun = time.monotonic()
    if dry_run:
        _look(files, options, tally)
    else:
        asyncio.run(
            _go(common.gateway_url(url, data_dir), common.api_key(url, data_dir), files, options, tally, wait=wait)
        )
    _sum_up(tally, time.monotonic() - begun, dry_run=dry_run)
    if tally.failures:
        raise typer.Exit(common.EXIT_FAILED)


def _files(what: list[Path]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in (one.expanduser() for one in what):
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.is_file() and is_transcript(file)]
            if not inside:
                common.fail(f"{path} holds no transcripts (.vtt, .srt, .json, .jsonl).", code=2)
            files.update(dict.fromkeys(inside))
        elif path.is_file():
            files[path] = None
        else:
            common.fail(f"{path} is neither a file nor a folder.", code=2)
    return list(files)


def _look(files: list[Path], options: Options, tally: Tally) -> None:
    for one in found_in(files, options):
        if isinstance(one, Problem):
            tally.failures.append(one)
        else:
            tally.imported += 1
            tally.segments += len(one.lines)
            tally.seconds += one.duration or max((line.end for line in one.lines), default=0.0)


async def _go(url: str, key: str, files: list[Path], options: Options, tally: Tally, *, wait: bool) -> None:
    async with AsyncClient(url, key=key) as client:
        try:
            with _Bar(common.out) if common.interactive() else _Lines(common.out) as view:
                await import_all(client, files, options, view, tally)
                if wait:
                    await _wait(client, tally)
        except Stopped as error:
            tally.failures.append(Problem("the gateway", f"{error} Run the same command again to go on."))


async def _wait(client: AsyncClient, tally: Tally) -> None:
    for video in tally.videos:
        try:
            ended = await settled(client, video)
        except EarmarkClientError as error:
            tally.failures.append(Problem(video.title, f"{error.message} ({error.reason})"))
            continue
        if ended.error is not None:
            problem = f"{ended.error.message} ({ended.error.stage}: {ended.error.reason})"
            tally.failures.append(Problem(f"{video.title} ({video.video_id})", problem))


def _sum_up(tally: Tally, took: float, *, dry_run: bool) -> None:
    for failure in tally.failures[:_SHOWN_FAILURES]:
        common.out.print(f"[red]✗[/] {escape(failure.label)}: {escape(failure.message)}", soft_wrap=True)
    if (rest := len(tally.failures) - _SHOWN_FAILURES) > 0:
        common.out.print(f"[red]✗[/] and {rest} more.")
    what = f"{tally.segments} segments, {clock(tally.seconds)} of speech"
    if dry_run:
        common.out.print(
            f"{tally.imported} videos would be imported ({what}), {len(tally.failures)} could not be read."
        )
        return
    there = f", {tally.already_there} were there already" if tally.already_there else ""
    retried = f" ({tally.retried} of them had failed, and are tried again)" if tally.retried else ""
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    common.out.print(f"{tally.imported} videos imported in {seconds(took)} ({what}){there}{retried}{failed}.")


class _Bar:
    """A bar over the bytes of all files."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            BarColumn(bar_width=40),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        """Begins to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last picture."""
        self._progress.stop()

    def told(self, tally: Tally, read_bytes: int, all_bytes: int) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=read_bytes, total=all_bytes, description=_so_far(tally))


class _Lines:
    """A line now and then, for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def told(self, tally: Tally, read_bytes: int, all_bytes: int) -> None:
        """Says how far it is, if it is time."""
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY_SECONDS:
            self._said = now
            share = f"{read_bytes / all_bytes:.0%} of the files read" if all_bytes else "nothing to read"
            self._console.print(f"{_so_far(tally)}, {share}", markup=False, soft_wrap=True)


def _so_far(tally: Tally) -> str:
    there = f", {tally.already_there} there already" if tally.already_there else ""
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    return f"{tally.imported} imported{there}{failed}"
