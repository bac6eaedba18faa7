"""What of the machine is this process's to use: cores and memory, containers' limits counted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 2**60
"""Version 1 of cgroups says a number near 2^63 where there is no limit."""


def available_cores(*, cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Gives the cores this process may use: its affinity, or fewer where a container's quota is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders(cgroups, membership, "cpu"):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            cores = min(cores, max(1, math.ceil(quota / period)))
    return cores


def available_bytes(
    *,
    cgroups: Path = _CGROUPS,
    membership: Path = Path("/proc/self/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> int | None:
    """Gives the memory that could still be taken, in bytes; None where nothing says so."""
    lines = _read(meminfo).splitlines()
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for folder in _folders(cgroups, membership, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        if limit and limit < _UNLIMITED_BYTES:
            known.append(max(0, limit - used + _reclaimable(folder)))
    return min(known, default=None)


def _folders(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Gives the folders that may limit this process: the root it sees, and its own and all above it there."""
    yield cgroups
    yield cgroups / controller
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        own = root / path.lstrip("/")
        while own != root and root in own.parents:
            yield own
            own = own.parent


def _quota(folder: Path) -> tuple[float, float]:
    """Gives quota and period of a folder, 0 where there is none."""
    both = _read(folder / "cpu.max").split()
    if len(both) == 2:
        return (0.0 if both[0] == "max" else float(both[0])), float(both[1])
    return float(_number(folder / "cpu.cfs_quota_us") or 0), float(_number(folder / "cpu.cfs_period_us") or 0)


def _reclaimable(folder: Path) -> int:
    """Gives the bytes that count as used and would be given back at once: files read before."""
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"}:
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.lstrip("-").isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
