"""Cuts media into slices, in a child process that can be limited and killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from services.transcriber.child_process import LINE_LIMIT, DecoderFailed, child_environment, death, last_words
from services.transcriber.decoder import Job
from services.transcriber.problems import MediaProblem, MediaWarning

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AudioSlice:
    """One slice, as a FLAC file that is there until the next slice is asked for.

    Attributes:
        index: Position among the slices of the media.
        start: Seconds in the media's clock.
        end: Seconds in the media's clock.
        speech_seconds: Seconds of it that voice activity calls speech.
        path: The file.
    """

    index: int
    start: float
    end: float
    speech_seconds: float
    path: Path


@dataclass(frozen=True, slots=True)
class SlicingLimits:
    """What the child may use.

    Attributes:
        memory_bytes: Address space.
        cpu_seconds: Processor time.
        stall_seconds: Time without a sign of progress after which it is killed.
        media_seconds: Longest media accepted.
        spool_slices: Slices that may wait on disk.
    """

    memory_bytes: int = 2 * 1024**3
    cpu_seconds: int = 3600
    stall_seconds: float = 120.0
    media_seconds: float = 48 * 3600.0
    spool_slices: int = 4


class Slicing:
    """One pass over one file: take its `slices`, then read `duration` and `warnings`."""

    def __init__(self, process: asyncio.subprocess.Process, limits: SlicingLimits) -> None:
        self._process = process
        self._limits = limits
        self.duration = 0.0
        self.warnings: list[MediaWarning] = []

    async def slices(self) -> AsyncGenerator[AudioSlice, None]:
        """Gives the slices in order of time, each as soon as it is cut.

        Raises:
            MediaProblem: The media cannot be transcribed; trying again will not help.
            DecoderFailed: The child died; trying again may help.
        """
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        while True:
            try:
                async with asyncio.timeout(self._limits.stall_seconds):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                raise DecoderFailed(
                    "decoding the media made no progress and was stopped", reason="DECODER_STALLED"
                ) from None
            if not line:
                raise death(await self._process.wait())
            fields: dict[str, Any] = json.loads(line)
            match fields.pop("type"):
                case "slice":
                    path = Path(fields.pop("path"))
                    yield AudioSlice(path=path, **fields)
                    path.unlink(missing_ok=True)  # noqa: ASYNC240  # removing a small local file
                    # The child may have cut its last slice and ended; uvloop tells a closed pipe by RuntimeError.
                    with contextlib.suppress(ConnectionError, RuntimeError):
                        self._process.stdin.write(b"\n")
                        await self._process.stdin.drain()
                case "progress":
                    pass
                case "done":
                    self.duration = fields["duration"]
                    self.warnings = [MediaWarning(**warning) for warning in fields["warnings"]]
                    return
                case "problem":
                    raise MediaProblem(fields["reason"], fields["message"])
                case other:
                    raise DecoderFailed(f"the decoder said {other!r}")


class Slicer:
    """Cuts media files into slices at silences.

    Args:
        slice_seconds: Length of slice aimed at.
        first_slice_seconds: Length aimed at for the first slice, so that the beginning is searchable soon.
        limits: What decoding one file may use.
        spool: Folder for slices under way; the system's temporary folder when None.
    """

    def __init__(
        self, *, slice_seconds: float, first_slice_seconds: float, limits: SlicingLimits, spool: Path | None = None
    ) -> None:
        self._slice_seconds = slice_seconds
        self._first_slice_seconds = first_slice_seconds
        self._limits = limits
        self._spool = spool

    @contextlib.asynccontextmanager
    async def open(self, media: Path, *, first_index: int = 0, start: float = 0.0) -> AsyncIterator[Slicing]:
        """Begins to cut `media`; the child process ends with the block.

        Args:
            media: The file.
            first_index: Index of the first slice wanted.
            start: Seconds at which that slice begins: the end of the one before it.
        """
        with tempfile.TemporaryDirectory(prefix="earmark-slices-", dir=self._spool) as spool:
            job = Job(
                media=str(media),
                spool=spool,
                room=self._limits.spool_slices,
                slice_seconds=self._slice_seconds,
                first_slice_seconds=self._first_slice_seconds,
                first_index=first_index,
                start=start,
                max_media_seconds=self._limits.media_seconds,
                memory_bytes=self._limits.memory_bytes,
                cpu_seconds=self._limits.cpu_seconds,
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.transcriber.decoder",
                json.dumps(asdict(job)),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
                env=child_environment(),
                start_new_session=True,  # a Ctrl-C in a terminal is the parent's to handle
            )
            complaints = asyncio.create_task(last_words(process.stderr), name="decoder-stderr")
            try:
                yield Slicing(process, self._limits)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                text = await complaints
                if text and process.returncode not in (0, 3, -signal.SIGKILL):
                    log.warning("decoder_complained", status=process.returncode, text=text)
