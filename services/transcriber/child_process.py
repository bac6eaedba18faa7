"""Child processes that touch untrusted media, as their parent sees them: started bare, heard line by line, killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import structlog

from services.common.errors import EarmarkError
from services.transcriber.problems import MediaProblem, Reason

log = structlog.get_logger()

LINE_LIMIT: Final = 1024 * 1024
_STDERR_KEPT = 4000
_OWNED = re.compile(r"earmark-[a-z]+-(\d+)-.+")


class DecoderFailed(EarmarkError):
    """The child process that decodes died or stopped answering."""

    reason = "DECODER_FAILED"
    code = "INTERNAL"
    transient = True


class ChildProcess:
    """A child that does one job and tells of it in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, *, stall_seconds: float) -> None:
        self._process = process
        self._stall_seconds = stall_seconds

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, module: str, job: dict[str, Any], *, stall_seconds: float) -> AsyncIterator[ChildProcess]:
        """Runs `python -m module` with a job; the child ends with the block.

        Args:
            module: What to run.
            job: What it is asked to do.
            stall_seconds: Time without a line, while one is waited for, after which it is taken for stuck.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            json.dumps(job),
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=child_environment(),
            start_new_session=True,  # a Ctrl-C in a terminal is the parent's to handle
        )
        complaints = asyncio.create_task(last_words(process.stderr), name="child-stderr")
        try:
            yield cls(process, stall_seconds=stall_seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            text = await complaints
            if text and process.returncode not in (0, 3, -signal.SIGKILL):
                log.warning("child_complained", module=module, status=process.returncode, text=text)

    async def line(self) -> dict[str, Any]:
        """Gives the next line that is no mere sign of life.

        Raises:
            MediaProblem: The media cannot be worked on; trying again will not help.
            DecoderFailed: The child died or is stuck; trying again may help.
        """
        assert self._process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                raise DecoderFailed(
                    "working on the media made no progress and was stopped", reason="DECODER_STALLED"
                ) from None
            if not line:
                raise death(await self._process.wait())
            fields: dict[str, Any] = json.loads(line)
            match fields["type"]:
                case "progress":
                    pass
                case "problem":
                    raise MediaProblem(fields["reason"], fields["message"])
                case _:
                    return fields

    async def go_on(self) -> None:
        """Gives it room for one more piece of its work."""
        assert self._process.stdin is not None
        # It may have ended already; uvloop tells a closed pipe by RuntimeError.
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(b"\n")
            await self._process.stdin.drain()


def death(status: int) -> Exception:
    """Gives what it means that a child ended before it was done. `status` is that of its process."""
    if status in (-signal.SIGXCPU, -signal.SIGXFSZ):
        message = "Decoding the media takes far more work than its length explains, and was stopped. Convert it first."
        return MediaProblem(Reason.DECODING_TOO_COSTLY, message)
    cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return DecoderFailed(f"the decoder ended with {cause} before it was done", metadata={"cause": cause})


@contextlib.contextmanager
def own_folder(kind: str, spool: Path | None) -> Iterator[Path]:
    """Gives an empty folder that goes with the block; what a killed process left is known by its number in the name."""
    with tempfile.TemporaryDirectory(prefix=f"earmark-{kind}-{os.getpid()}-", dir=spool) as folder:
        yield Path(folder)


def sweep_folders(spool: Path | None) -> int:
    """Removes the folders of processes that are no more, and gives how many."""
    count = 0
    for folder in Path(spool or tempfile.gettempdir()).glob("earmark-*-*-*"):
        match = _OWNED.fullmatch(folder.name)
        if match is None or _lives(int(match[1])):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        count += 1
    return count


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def child_environment() -> dict[str, str]:
    """Gives the child its way to the code and nothing else: no secret of ours is in reach of a broken decoder."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ
    }
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **threads, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


async def last_words(stream: asyncio.StreamReader | None) -> str:
    """Reads what a child complains of to its end, and gives the last of it."""
    kept = b""
    while stream is not None and (block := await stream.read(4096)):
        kept = (kept + block)[-_STDERR_KEPT:]
    return kept.decode(errors="replace").strip()
