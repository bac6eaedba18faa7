"""Memory and processor time of a process and all below it, while they run."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_IDLE_SECONDS = 0.3
_EVERY_SECONDS = 2.0
"""Adding up 1.5 GiB takes 11 ms of one of the cores that are measured."""


class Peak:
    """The most memory seen, in MiB: proportional set sizes, so that shared pages count once."""

    def __init__(self) -> None:
        self.mib = 0.0

    @contextlib.contextmanager
    def of(self, pid: int) -> Iterator[None]:
        """Watches a process and its descendants for the block."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_EVERY_SECONDS):
                self.mib = max(self.mib, tree_mib(pid))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def settle(pid: int, *, within: float = 60) -> None:
    """Waits until a process and its descendants have hardly worked for a second: until all models are loaded.

    Raises:
        TimeoutError: They work on and on.
    """
    until, before = time.monotonic() + within, tree_cpu(pid)
    while time.monotonic() < until:
        threading.Event().wait(1)
        now = tree_cpu(pid)
        if now - before < _IDLE_SECONDS:
            return
        before = now
    raise TimeoutError(f"the mesh was still busy after {within:.0f} s")


def tree_cpu(pid: int) -> float:
    """Gives the processor time in seconds that a process and its descendants have taken."""
    stats = _stats()
    return sum(sum(map(int, stats[one][11:13])) for one in _tree(pid, stats)) / os.sysconf("SC_CLK_TCK")


def tree_mib(pid: int) -> float:
    """Gives the proportional set size of a process and its descendants."""
    total = 0.0
    for one in _tree(pid, _stats()):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return total


def _stats() -> dict[int, list[str]]:
    """Gives of each process what proc(5) calls stat, from the third field on."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return found


def _tree(pid: int, stats: dict[int, list[str]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for one, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(one)
    tree = [pid] if pid in stats else []
    for one in tree:  # it grows while it is walked
        tree += children.get(one, [])
    return tree
