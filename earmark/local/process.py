"""One child of the supervisor: what it is, and its process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from earmark.local import launcher
from earmark.local.logs import ChildLog
from earmark.local.state import kill_group, start_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What a child is.

    Attributes:
        name: unique; also the name of its log.
        command: program (absolute path) and arguments.
        environment: what it needs besides the supervisor's own environment.
        ready: whether it serves; never raises.
        needs: names of the children that must serve before this one starts.
        stop_seconds: how long it may take to end after SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stop_seconds: float = 20.0


class ChildProcess:
    """The running process of a child, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, following: asyncio.Task[None]) -> None:
        self._process = process
        self._following = following
        self.pid = process.pid
        self.started = start_ticks(process.pid)

    @classmethod
    async def start(cls, spec: ChildSpec, log: ChildLog, folder: Path) -> ChildProcess:
        """Starts it.

        Raises:
            OSError: its program cannot be run.
        """
        # A pipe of our own: asyncio tells the end of a child only when its own children have closed theirs too.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *spec.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**os.environ, **spec.environment},
                cwd=folder,
                process_group=0,  # Ctrl-C in the terminal reaches the supervisor alone, which then ends them in order
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        following = asyncio.create_task(_follow(reading, log), name=f"log of {spec.name}")
        return cls(process, following)

    async def wait(self) -> str:
        """Waits for its end, ends what it left behind, and says how it ended, e.g. `exit code 1` or `SIGKILL`."""
        code = await self._process.wait()
        kill_group(self.pid)
        # A grandchild that survives in a group of its own would hold the pipe open for ever.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._following, 2.0)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    async def stop(self, seconds: float) -> bool:
        """Asks it to end, then makes it; whether asking was enough."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            kill_group(self.pid)
            return False
        return True


async def _follow(descriptor: int, log: ChildLog) -> None:
    stream = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    try:
        await log.follow(stream)
    finally:
        transport.close()
