"""Brings many transcripts in, a bounded number at once, and goes on where an earlier run stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from earmark.cli.transcripts import Problem, Reading, Transcript, read
from earmark.client import (
    AsyncClient,
    ConnectionFailed,
    EarmarkClientError,
    Imported,
    Overloaded,
    Timeout,
    Unavailable,
    Video,
)

ATTEMPTS = 8
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 10.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for all transcripts: `collection` and `language` where a transcript says none, `tags` beside its own.

    With `again` nothing is looked for: every transcript makes a video.
    """

    collection: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()
    concurrency: int = 8
    again: bool = False

    def applied(self, transcript: Transcript) -> Transcript:
        """Gives the transcript with the options put in."""
        return replace(
            transcript,
            collection=transcript.collection or self.collection,
            language=transcript.language or self.language,
            tags=tuple(dict.fromkeys((*transcript.tags, *self.tags))),
        )


@dataclass(slots=True)
class Tally:
    """What an import came to."""

    imported: int = 0
    already_there: int = 0
    retried: int = 0
    segments: int = 0
    seconds: float = 0.0
    failures: list[Problem] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Transcripts looked at."""
        return self.imported + self.already_there + len(self.failures)


class View(Protocol):
    """Shows how far it is."""

    def told(self, tally: Tally, read_bytes: int, all_bytes: int) -> None:
        """One more transcript is done."""


class Stopped(Exception):
    """The gateway went away for good; what is done is done."""


def found_in(paths: Iterable[Path], options: Options, reading: Reading | None = None) -> Iterator[Transcript | Problem]:
    """Gives the transcripts of files, with the options put in; `reading` tells how far in all of them."""
    paths = list(paths)
    before, total = 0, sum(path.stat().st_size for path in paths)
    for path in paths:
        inner = Reading()
        if reading is not None:
            reading.size = total
            reading.tell = _from(before, inner)
        for one in read(path, inner):
            yield options.applied(one) if isinstance(one, Transcript) else one
        before += path.stat().st_size
    if reading is not None:
        reading.tell = lambda: total


async def import_all(client: AsyncClient, paths: Iterable[Path], options: Options, view: View, tally: Tally) -> None:
    """Imports every transcript of the files; `tally` is true at any moment, also when this is cancelled.

    Raises:
        ConnectionFailed: no gateway answers, from the beginning.
        Stopped: it stopped answering.
    """
    reading = Reading()
    found = found_in(paths, options, reading)
    # Read in a thread, one at a time: a generator is not to be entered twice.
    turn = asyncio.Lock()

    async def work() -> None:
        while True:
            async with turn:
                one = await asyncio.to_thread(next, found, None)
            if one is None:
                return
            await _one(client, one, options, tally)
            view.told(tally, _position(reading), reading.size)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(options.concurrency):
                group.create_task(work())
    except* (ConnectionFailed, Stopped) as errors:
        raise errors.exceptions[0] from None


async def settled(client: AsyncClient, video: Video) -> Video:
    """Waits until a video is ready or failed. Asked now and then: thousands of streams would be no help to anyone."""
    while not video.settled:
        await asyncio.sleep(_POLL_SECONDS)
        video = await client.get(video.video_id)
    return video


async def _one(client: AsyncClient, one: Transcript | Problem, options: Options, tally: Tally) -> None:
    if isinstance(one, Problem):
        tally.failures.append(one)
        return
    try:
        answer = await _sent(client, one, options, tally)
        if answer.already_there and answer.video.status == "failed":
            answer = replace(answer, video=await client.retry(answer.video.video_id))
            tally.retried += 1
    except (ConnectionFailed, Stopped):
        raise
    except EarmarkClientError as error:
        tally.failures.append(Problem(one.label, f"{error.message} ({error.reason})"))
        return
    tally.videos.append(answer.video)
    if answer.already_there:
        tally.already_there += 1
        return
    tally.imported += 1
    tally.segments += len(one.lines)
    tally.seconds += answer.video.duration or 0.0


async def _sent(client: AsyncClient, one: Transcript, options: Options, tally: Tally) -> Imported:
    """Sends a transcript, again while the gateway is busy or starting; its key keeps it from being there twice."""
    delay = _FIRST_DELAY
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await client.import_transcript(
                one.title,
                one.lines,
                url=one.url,
                language=one.language,
                duration=one.duration,
                collection=one.collection,
                tags=one.tags,
                external_id="" if options.again else one.key,
            )
        except (ConnectionFailed, Overloaded, Timeout, Unavailable) as error:
            # Sent twice, a transcript without a key might be there twice: only a plain refusal says that it is not.
            unsure = options.again and not isinstance(error, Overloaded)
            if isinstance(error, ConnectionFailed) and not tally.done:
                raise
            if unsure or attempt == ATTEMPTS:
                if isinstance(error, Overloaded):
                    raise
                raise Stopped(error.message) from error
            await asyncio.sleep(max(getattr(error, "retry_after", None) or 0.0, delay * (0.5 + random.random())))
            delay = min(delay * 2, _LONGEST_DELAY)
    raise AssertionError("unreachable")


def _from(before: int, inner: Reading) -> Callable[[], int]:
    return lambda: before + inner.tell()


def _position(reading: Reading) -> int:
    try:
        return reading.tell()
    except (OSError, ValueError):  # the file was closed this moment; its number may be another file's by now
        return reading.size
