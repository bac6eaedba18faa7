"""The process that builds segments: one, of low priority, started when there is something to build."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from services.common.errors import Unavailable
from services.indexer.build import Job, build, writing_folder

_NICE = 10
_FEW_ROWS = 512
"""Up to here a segment is built in this process, in tens of milliseconds; a process takes a second to start."""
_IDLE_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Builder:
    """Builds one segment at a time, in a child process that ends with this one, or when it was idle for a while."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._one = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def build(self, job: Job) -> dict[str, Any]:
        """Builds a segment and gives its manifest.

        Raises:
            Unavailable: The process died, or the disk did not take the segment; it can be tried again.
        """
        async with self._one:
            try:
                if job.rows <= _FEW_ROWS:
                    return await asyncio.to_thread(build, job)
                return await asyncio.get_running_loop().run_in_executor(self._process(), build, job)
            except BrokenProcessPool as error:
                self.close()
                raise Unavailable("the process that builds segments died") from error
            except OSError as error:
                raise Unavailable(f"the segment cannot be written just now: {error}") from error
            finally:
                # What a failed build left behind would fill a disk that is full already.
                await asyncio.to_thread(shutil.rmtree, writing_folder(job), ignore_errors=True)
                self._idle = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._rest)

    def close(self) -> None:
        """Ends the process, whatever it is doing: what it had begun is not a segment yet."""
        if self._idle is not None:
            self._idle.cancel()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list(pool._processes.values()):  # noqa: SLF001  (no public way before 3.14)
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(os.getpid(),))
        return self._pool

    def _rest(self) -> None:
        if not self._one.locked():
            self.close()


def _begin(parent: int) -> None:
    """Runs first in the child: it gives way to searches, and does not outlive its parent."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
