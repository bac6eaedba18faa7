"""The processes that build segments: of low priority, started when there is something to build."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from services.common.errors import Unavailable
from services.indexer.build import Job, build, writing_folder
from services.indexer.lot import Lot, Taken, build_lot

_NICE = 10
_FEW_ROWS = 512
"""Up to here a segment is built in this process, in tens of milliseconds; a process takes a second to start."""
_FEW_BYTES = 2 << 20
"""The same of documents: some 500 chunks."""
_IDLE_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


_Made = TypeVar("_Made")


class Builder:
    """Builds segments in child processes that end with this one, or when they were idle for a while.

    Args:
        processes: Segments it builds at once.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._free = asyncio.Semaphore(processes)
        self._building = 0
        self._idle: asyncio.TimerHandle | None = None

    async def build(self, job: Job) -> dict[str, Any]:
        """Builds a segment of columns and gives its manifest.

        Raises:
            Unavailable: The process died, or the disk did not take the segment; it can be tried again.
        """
        return await self._made(partial(build, job), job.target, few=job.rows <= _FEW_ROWS)

    async def take(self, lot: Lot) -> Taken:
        """Builds a segment of videos as the database gave them, and says what became of them. Raises as `build`."""
        return await self._made(partial(build_lot, lot), lot.target, few=lot.bytes <= _FEW_BYTES)

    async def _made(self, make: Callable[[], _Made], target: Path, *, few: bool) -> _Made:
        async with self._free:
            self._building += 1
            try:
                if few:
                    return await asyncio.to_thread(make)
                return await asyncio.get_running_loop().run_in_executor(self._started(), make)
            except BrokenProcessPool as error:
                self.close()
                raise Unavailable("the process that builds segments died") from error
            except OSError as error:
                raise Unavailable(f"the segment cannot be written just now: {error}") from error
            finally:
                # What a failed build left behind would fill a disk that is full already.
                await asyncio.to_thread(shutil.rmtree, writing_folder(target), ignore_errors=True)
                self._building -= 1
                if self._idle is not None:
                    self._idle.cancel()
                self._idle = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._rest)

    def close(self) -> None:
        """Ends the processes, whatever they are doing: what they had begun is not a segment yet."""
        if self._idle is not None:
            self._idle.cancel()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list(pool._processes.values()):  # noqa: SLF001  (no public way before 3.14)
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, initializer=_begin, initargs=(os.getpid(),))
        return self._pool

    def _rest(self) -> None:
        if not self._building:
            self.close()


def _begin(parent: int) -> None:
    """Runs first in the child: it gives way to searches, and does not outlive its parent."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
