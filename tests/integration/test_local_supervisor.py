"""The supervisor with small children of our own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from earmark.local import state as states
from earmark.local.logs import Record
from earmark.local.paths import DataDir
from earmark.local.process import ChildSpec
from earmark.local.state import MeshState
from earmark.local.supervisor import StartFailed, Supervisor
from tests.support import eventually, eventually_sync

# Says when it starts, is asked to end, and ends; serves as soon as its file is there.
CHILD = """
import pathlib, signal, sys, threading
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
ended = threading.Event()
def end(*_):
    print("ending", flush=True)
    if "stubborn" not in name:
        ended.set()
signal.signal(signal.SIGTERM, end)
with (folder / "order").open("a") as order: order.write(f"+{name} ")
(folder / name).touch()
print('{"event": "began", "level": "info", "who": "%s"}' % name, flush=True)
ended.wait()
with (folder / "order").open("a") as order: order.write(f"-{name} ")
"""
CRASHING = "import sys; print('no model here', flush=True); sys.exit(3)"


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    folder = DataDir(tmp_path / "data")
    folder.run.mkdir(parents=True)
    return folder


def child(data: DataDir, name: str, *, needs: tuple[str, ...] = (), stop_seconds: float = 5.0) -> ChildSpec:
    async def ready() -> bool:
        return (data.root / name).exists()

    return ChildSpec(
        name=name,
        command=(sys.executable, "-c", CHILD, name, str(data.root)),
        needs=needs,
        ready=ready,
        stop_seconds=stop_seconds,
    )


def crashing(name: str) -> ChildSpec:
    async def ready() -> bool:
        return False

    return ChildSpec(name=name, command=(sys.executable, "-c", CRASHING), ready=ready)


class Run:
    """A supervisor at work."""

    def __init__(self, data: DataDir, *specs: ChildSpec) -> None:
        self.mesh = MeshState()
        self.records: list[Record] = []
        self.supervisor = Supervisor(data=data, specs=specs, mesh=self.mesh, sink=self.records.append)
        self.task = asyncio.create_task(self.supervisor.run())

    def pid(self, name: str) -> int:
        return next(child.pid for child in self.mesh.children if child.name == name)

    def events(self) -> list[str]:
        return [record.event for record in self.records]

    async def serving(self) -> None:
        await eventually(lambda: self.mesh.state == states.SERVING and not self.mesh.waiting_for(), 20)

    async def end(self) -> None:
        self.supervisor.stop()
        await self.task


@contextlib.asynccontextmanager
async def running(data: DataDir, *specs: ChildSpec) -> AsyncIterator[Run]:
    run = Run(data, *specs)
    try:
        await run.serving()
        yield run
    finally:
        await run.end()


async def test_children_start_after_what_they_need_and_end_in_reverse(data: DataDir) -> None:
    specs = [child(data, "c", needs=("b",)), child(data, "a"), child(data, "b", needs=("a",))]
    async with running(data, *specs) as run:
        pids = [run.pid(name) for name in "abc"]
    assert (data.root / "order").read_text().split() == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert not any(states.start_ticks(pid) for pid in pids)
    assert run.mesh.state == states.STOPPING
    assert MeshState.load(data).waiting_for() == ["c", "a", "b"]


async def test_crashed_child_starts_again_and_it_is_said(data: DataDir) -> None:
    async with running(data, child(data, "a")) as run:
        before = run.pid("a")
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: run.pid("a") not in (0, before), 10)
        await run.serving()
        assert run.mesh.children[0].restarts == 1
        assert run.mesh.children[0].last_exit == "SIGKILL"
        assert "a ended with SIGKILL; it starts again in 0.5 s" in run.events()


async def test_child_that_never_serves_fails_the_start_and_is_named(data: DataDir) -> None:
    run = Run(data, child(data, "a"), crashing("bad"))
    with pytest.raises(StartFailed, match=r"bad does not start: .* exit code 3, saying: no model here$") as caught:
        await run.task
    assert caught.value.culprit == "bad"
    assert caught.value.lines == ["no model here"]  # of the last process, not of all three
    assert data.log("bad").read_text().count("no model here") == 3
    assert "-a" in (data.root / "order").read_text()  # the others were ended


async def test_missing_program_fails_the_start(data: DataDir) -> None:
    async def ready() -> bool:
        return False

    run = Run(data, ChildSpec(name="gone", command=(str(data.root / "no-such-program"),), ready=ready))
    with pytest.raises(StartFailed) as caught:
        await run.task
    assert caught.value.culprit == "gone"


async def test_stubborn_child_is_killed_after_its_deadline(data: DataDir) -> None:
    async with running(data, child(data, "stubborn", stop_seconds=0.2)) as run:
        pid = run.pid("stubborn")
    await eventually(lambda: not states.start_ticks(pid), message="the killed child reaped")
    assert "stubborn did not end within 0.2 s and was killed" in run.events()


async def test_what_a_crashed_child_left_behind_is_ended_first(data: DataDir) -> None:
    parent = (
        "import subprocess, sys, pathlib, threading\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "folder = pathlib.Path(sys.argv[1]); file = folder / 'helpers'\n"
        "file.open('a').write(f'{helper.pid} '); (folder / 'parent').touch()\n"
        "threading.Event().wait()\n"
    )

    async def ready() -> bool:
        return (data.root / "parent").exists()

    spec = ChildSpec(
        name="parent", command=(sys.executable, "-c", parent, str(data.root)), ready=ready, stop_seconds=0.2
    )

    def helpers() -> list[int]:
        return [int(pid) for pid in (data.root / "helpers").read_text().split()]

    async with running(data, spec) as run:
        os.kill(run.pid("parent"), signal.SIGKILL)
        await eventually(lambda: len(helpers()) == 2, 10)
        assert not _alive(helpers()[0])
    await eventually(lambda: not _alive(helpers()[1]), 5)


async def test_logs_are_kept_taken_apart_and_named(data: DataDir) -> None:
    async with running(data, child(data, "a")) as run:
        await eventually(lambda: "began" in run.events(), 5)
    record = next(record for record in run.records if record.event == "began")
    assert (record.child, record.level, record.fields) == ("a", "info", {"who": "a"})
    assert '"event": "began"' in data.log("a").read_text()


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from earmark.local.paths import DataDir
from tests.integration import test_local_supervisor as here
from earmark.local import state
data = DataDir(Path({folder!r}))
async def main():
    with state.held(data):
        run = here.Run(data, here.child(data, "a"), here.child(data, "b"))
        await run.task
asyncio.run(main())
"""


def test_children_die_with_a_killed_supervisor_and_the_lock_is_free(data: DataDir) -> None:
    root = str(Path(__file__).resolve().parents[2])
    script = SUPERVISOR.format(root=root, folder=str(data.root))
    supervisor = subprocess.Popen([sys.executable, "-c", script])
    try:
        eventually_sync(lambda: MeshState.load(data).state == states.SERVING, 20, message="serving")
        assert states.is_held(data)
        pids = [child.pid for child in MeshState.load(data).children]
        assert all(_alive(pid) for pid in pids)
    finally:
        supervisor.kill()
        supervisor.wait()
    eventually_sync(lambda: not any(_alive(pid) for pid in pids), 5, message="no child left")
    assert not states.is_held(data)
    assert states.running(data) is None


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie is dead; only nobody has asked how it ended


async def test_children_come_and_go_while_it_runs(data: DataDir) -> None:
    async with running(data, child(data, "a"), child(data, "gateway")) as run:
        run.supervisor.add(child(data, "late"))
        await run.serving()
        assert [one.name for one in run.mesh.children] == ["a", "late", "gateway"]
        pid = run.pid("late")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: run.pid("late") not in (0, pid), 10)
        await run.serving()
        pid = run.pid("late")
        await run.supervisor.remove("late")
        assert states.start_ticks(pid) == 0
        assert [one.name for one in MeshState.load(data).children] == ["a", "gateway"]
        run.supervisor.add(child(data, "late"))  # the same name again is another child
        await run.serving()
        assert run.mesh.state == states.SERVING
    assert not any(states.start_ticks(one.pid) for one in run.mesh.children if one.pid)


async def test_a_child_that_crashes_at_its_start_can_be_taken_out(data: DataDir) -> None:
    async with running(data, child(data, "a")) as run:
        run.supervisor.add(crashing("late"))
        await eventually(lambda: run.mesh.children[0].restarts > 0, 10)
        assert run.mesh.state == states.SERVING, "a mesh that serves does not end for one that comes later"
        await run.supervisor.remove("late")
        assert [one.name for one in run.mesh.children] == ["a"]


async def test_work_beside_the_children_ends_with_them(data: DataDir) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def beside() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    supervisor = Supervisor(data=data, specs=[child(data, "b")], mesh=MeshState(), sink=lambda _: None)
    task = asyncio.create_task(supervisor.run(beside=beside))
    await asyncio.wait_for(begun.wait(), 20)
    supervisor.stop()
    await asyncio.wait_for(task, 20)
    assert ended.is_set()
