"""What a child process that touches untrusted media does of itself: it limits itself, and tells its parent lines."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from time import monotonic
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PROGRESS_SECONDS: Final = 2.0


def limit_process(parent: int, *, memory_bytes: int, cpu_seconds: int, file_bytes: int, niceness: int = 0) -> None:
    """Gives up what decoding does not need, for good.

    Args:
        parent: Process id of the parent, with which this one ends.
        memory_bytes: Address space this process may use.
        cpu_seconds: Processor time this process may use.
        file_bytes: Size of the largest file it may write.
        niceness: How much it stands back behind other processes, 0 to 19.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):  # Linux
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the line above: nobody is left to tell.
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # The soft limit ends it with SIGXCPU, which says why; the hard one with SIGKILL, which does not.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if niceness:
        os.nice(niceness)


class Telling:
    """The lines to the parent and its answers."""

    def __init__(self, *, room: int) -> None:
        # Libraries that print must not get between the lines.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._room = room
        self._told = monotonic()

    def tell(self, kind: str, **fields: Any) -> None:
        """Writes one line."""
        self._out.write(json.dumps({"type": kind, **fields}) + "\n")
        self._out.flush()
        self._told = monotonic()

    def progress(self, seconds: float) -> None:
        """Says how far the work is, if nothing was said for a while."""
        if monotonic() - self._told >= _PROGRESS_SECONDS:
            self.tell("progress", seconds=seconds)

    def wait_for_room(self) -> None:
        """Waits until the parent has given room for one more, when there is none."""
        while self._room <= 0:
            if not sys.stdin.readline():
                os._exit(1)
            self._room += 1
        self._room -= 1
