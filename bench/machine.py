"""Where a figure was measured: a figure without its machine says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("faster-whisper", "ctranslate2", "sentence-transformers", "torch", "onnxruntime", "faiss-cpu", "tantivy")


def describe() -> str:
    """One line: processor, cores, memory, load at this moment, versions."""
    versions = ", ".join(f"{name} {installed}" for name in PACKAGES if (installed := _version(name)))
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, load {load};"
        f" Python {platform.python_version()}, {versions}"
    )


def load_per_core() -> float:
    """Processes that want a core, for each core there is; the mean of the last minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = named.get("flags", "").split()
    wide = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in flags]
    return f"{named.get('model name', platform.machine()).strip()} ({' '.join(wide)})"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
