"""Memory of a process and its children, as the kernel counts it (Linux)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.

    Attributes:
        resident: in memory now, mapped files included.
        own: of these, what the process would have to keep: not the pages of files, which the kernel may drop.
    """

    resident: int
    own: int

    @staticmethod
    def now() -> Memory:
        """Of this process and its descendants."""
        resident = own = 0
        for pid in _family(os.getpid()):
            try:
                lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
            except OSError:  # ended in between
                continue
            fields = {
                name: int(value.split()[0]) << 10
                for name, _, value in (line.partition(":") for line in lines)
                if name in {"VmRSS", "RssFile"}
            }
            resident += fields.get("VmRSS", 0)
            own += fields.get("VmRSS", 0) - fields.get("RssFile", 0)
        return Memory(resident, own)


def cpu_seconds() -> float:
    """Seconds of processor that this process and its running descendants have taken."""
    ticks = 0
    for pid in _family(os.getpid())[1:]:
        with contextlib.suppress(OSError, IndexError):  # ended in between
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    family = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text(encoding="utf-8").split()
        except OSError:
            continue
        for child in children:
            family += _family(int(child))
    return family


class Peak:
    """Watches from a thread; a context manager whose `bytes` is the most that was resident.

    Args:
        limit: bytes.
        beyond: called, in the thread, when there is more than that.
    """

    def __init__(self, limit: int, beyond: Callable[[], None]) -> None:
        self._limit, self._beyond = limit, beyond
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, Memory.now().resident)
            if self.bytes > self._limit:
                self._beyond()
            if self._done.wait(SAMPLE_SECONDS):
                return
