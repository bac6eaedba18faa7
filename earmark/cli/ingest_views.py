"""Two ways to show an ingest: live bars for a person, lines for a log."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from earmark.cli.format import clock, seconds, size, time_left
from earmark.cli.ingesting import Outcome, work_done
from earmark.cli.media import Source
from earmark.client import Video, VideoStatus

_LABEL = 34


class LiveView:
    """One bar a video: first its upload, then its slices."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[Source, TaskID] = {}

    def __enter__(self) -> Self:
        """Begins to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last picture."""
        self._progress.stop()

    def uploading(self, source: Source, sent: int, total: int) -> None:
        """Moves the bar of the upload."""
        stage = f"uploading {size(sent)} of {size(total)}"
        self._progress.update(self._task(source), completed=sent, total=total, stage=stage)

    def accepted(self, source: Source, _: Video) -> None:
        """Starts the bar again, now for the work of the mesh."""
        self._progress.update(self._task(source), completed=0, total=None, stage="listening for speech")

    def progressed(self, source: Source, status: VideoStatus) -> None:
        """Moves the bar."""
        done = work_done(status)
        self._progress.update(
            self._task(source),
            completed=(done or 0) * 100,
            total=None if done is None else 100,
            stage=stage_of(status),
        )

    def ended(self, outcome: Outcome) -> None:
        """Fills the bar, or says what went wrong."""
        stage = f"[green]{outcome.status}[/]" if outcome.well else f"[red]{outcome.status}[/]"
        task = self._task(outcome.source)
        self._progress.update(task, stage=stage, total=100, **({"completed": 100} if outcome.well else {}))  # type: ignore[arg-type]
        self._progress.stop_task(task)
        if not outcome.well:
            self._progress.console.print(f"[red]✗[/] {escape(outcome.source.label)}: {escape(outcome.reason)}")

    def _task(self, source: Source) -> TaskID:
        if source not in self._tasks:
            label = source.label if len(source.label) <= _LABEL else source.label[: _LABEL - 1] + "…"
            self._tasks[source] = self._progress.add_task(escape(label), total=None, stage="")
        return self._tasks[source]


class LineView:
    """A line at each turn of a video's way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[Source, str] = {}

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def uploading(self, source: Source, sent: int, total: int) -> None:
        """Says when an upload begins."""
        if sent == 0:
            self._say(source, f"uploading {size(total)}")

    def accepted(self, source: Source, video: Video) -> None:
        """Says the id."""
        self._say(source, f"accepted as {video.video_id}")

    def progressed(self, source: Source, status: VideoStatus) -> None:
        """Says each new stage."""
        stage = stage_of(status)
        if not status.settled and self._said.get(source) != stage:
            self._said[source] = stage
            self._say(source, stage)

    def ended(self, outcome: Outcome) -> None:
        """Says how it ended."""
        if outcome.well:
            self._say(outcome.source, f"{outcome.status} after {seconds(outcome.seconds)}")
        else:
            self._say(outcome.source, f"{outcome.status}: {outcome.reason}")

    def _say(self, source: Source, text: str) -> None:
        self._console.print(f"{source.label}: {text}", markup=False, soft_wrap=True)


def stage_of(status: VideoStatus) -> str:
    """What the mesh is doing with a video, in a few words."""
    progress = status.progress
    if status.settled or not progress.slices_known:
        return {"ready": "ready", "failed": "failed"}.get(status.status, "listening for speech")
    known = f"{progress.slices_known}{'' if progress.slicing_done else '+'}"
    length = clock(status.duration or progress.seconds_known)
    told = f"{progress.slices_done}/{known} slices, {clock(progress.seconds_searchable)} of {length} searchable"
    return f"{told}, {time_left(progress.seconds_left)}" if progress.seconds_left is not None else told
