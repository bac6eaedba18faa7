"""What a running mesh tells others about itself (`run/mesh.json`), and the lock that says whether it runs."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from earmark.local.paths import DataDir

# Of the mesh: preparing → starting → serving → stopping → stopped, or failed.
PREPARING, STARTING, SERVING, STOPPING, STOPPED, FAILED = (
    "preparing",
    "starting",
    "serving",
    "stopping",
    "stopped",
    "failed",
)
# Of a child besides those: waiting for what it needs, or for its next start after a crash.
WAITING, CRASHED = "waiting", "crashed"


class AlreadyRunning(Exception):
    """Another supervisor holds the data folder."""


@dataclass(slots=True)
class ChildState:
    """One child process. `started` is its start in clock ticks since boot: with `pid` it names one process for ever.

    `trouble` is what it last complained of while it did not serve.
    """

    name: str
    state: str = WAITING
    pid: int = 0
    started: int = 0
    restarts: int = 0
    last_exit: str = ""
    trouble: str = ""


@dataclass(slots=True)
class MeshState:
    """The mesh as its supervisor last saw it. `pid` and `started` name the supervisor, as in `ChildState`.

    `shards` and `replicas` say how many indexers there are to be; 0 before the first start.
    """

    state: str = STOPPED
    http_url: str = ""
    pid: int = 0
    started: int = 0
    begun_at: float = 0.0
    serving_at: float | None = None
    ports: dict[str, int] = field(default_factory=dict)
    shards: int = 0
    replicas: int = 0
    children: list[ChildState] = field(default_factory=list)
    problem: str = ""
    culprit: str = ""
    last_lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, data: DataDir) -> MeshState:
        """The state written last, as far as this version knows its fields; an empty one when there is none."""
        try:
            content: dict[str, Any] = json.loads(_file(data).read_text())
            children = [ChildState(**_known(ChildState, child)) for child in content.pop("children", [])]
            return cls(**_known(cls, content), children=children)
        except (OSError, ValueError, TypeError, AttributeError):
            return cls()

    def save(self, data: DataDir) -> None:
        """Replaces the file in one step, so that a reader never sees half of it."""
        target = _file(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(target)

    def waiting_for(self) -> list[str]:
        """Names of the children that do not serve yet."""
        return [child.name for child in self.children if child.state != SERVING]


@contextmanager
def held(data: DataDir) -> Iterator[None]:
    """Holds the data folder; the kernel gives it back when the process ends, however it ends.

    Raises:
        AlreadyRunning: another supervisor holds it.
    """
    data.run.mkdir(parents=True, exist_ok=True)
    with _lock_file(data).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning from None
        yield


def is_held(data: DataDir) -> bool:
    """Whether a supervisor runs on this data folder."""
    try:
        with _lock_file(data).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def running(data: DataDir) -> MeshState | None:
    """State of the mesh that runs on this data folder, or None."""
    return MeshState.load(data) if is_held(data) else None


def start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when it is gone or the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])  # proc(5): field 22, counted after the name in brackets


def end_leftovers(state: MeshState) -> list[str]:
    """Kills children a dead supervisor left behind, and says which. The lock must be held."""
    ended = []
    for child in state.children:
        if child.pid and child.started and start_ticks(child.pid) == child.started:
            kill_group(child.pid)
            ended.append(child.name)
    return ended


def kill_group(pid: int, with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Signals a child and all it has started; each child leads a process group of its own."""
    try:
        os.killpg(pid, with_signal)
    except ProcessLookupError:
        return


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def _file(data: DataDir) -> Path:
    return data.run / "mesh.json"


def _lock_file(data: DataDir) -> Path:
    return data.run / "mesh.lock"


def _known(kind: type[ChildState | MeshState], content: dict[str, Any]) -> dict[str, Any]:
    """What a dataclass has a field for: the mesh that runs may be of another version than the command that looks."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in content.items() if name in names}
