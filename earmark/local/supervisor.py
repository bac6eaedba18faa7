"""Starts the children in order, starts crashed ones again, and ends them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from earmark.local import state as states
from earmark.local.logs import ChildLog, Record, Sink, reason
from earmark.local.paths import DataDir
from earmark.local.process import ChildProcess, ChildSpec
from earmark.local.state import ChildState, MeshState

SUPERVISOR = "mesh"
_PROBE_SECONDS = 0.1
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_STEADY_SECONDS = 30.0  # a child that ran this long starts again without delay
_STARTS_BEFORE_GIVING_UP = 3
_TROUBLE = frozenset({"warning", "error", "critical"})


class StartFailed(Exception):
    """The mesh did not come up.

    Attributes:
        culprit: name of the child to blame.
        lines: the last lines it wrote.
    """

    def __init__(self, culprit: str, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.culprit = culprit
        self.lines = list(lines)


class Supervisor:
    """Runs children until asked to stop.

    Args:
        data: the data folder, which the caller holds (`state.held`).
        specs: the children, each after those it needs.
        mesh: state to keep up to date and saved.
        sink: takes every log record.
        start_seconds: how long the whole mesh may take to serve.
    """

    def __init__(
        self, *, data: DataDir, specs: Sequence[ChildSpec], mesh: MeshState, sink: Sink, start_seconds: float = 300.0
    ) -> None:
        self._data = data
        self._specs = {spec.name: spec for spec in specs}
        self._mesh = mesh
        self._sink = sink
        self._start_seconds = start_seconds
        self._states = {spec.name: ChildState(spec.name) for spec in specs}
        self._serving = {spec.name: asyncio.Event() for spec in specs}
        self._stop = asyncio.Event()
        self._ending = {spec.name: asyncio.Event() for spec in specs}
        self._processes: dict[str, ChildProcess] = {}
        self._logs: dict[str, ChildLog] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._broken: asyncio.Future[None] | None = None
        mesh.children = list(self._states.values())

    def stop(self) -> None:
        """Asks for a clean end; asked a second time, all children are killed at once."""
        if self._stop.is_set():
            for process in self._processes.values():
                states.kill_group(process.pid)
        self._stop.set()
        for event in self._ending.values():
            event.set()

    def add(self, spec: ChildSpec) -> None:
        """Starts one more child, and keeps it running as the others. What it needs must be there."""
        child = ChildState(spec.name)
        self._specs[spec.name], self._states[spec.name] = spec, child
        self._serving[spec.name], self._ending[spec.name] = asyncio.Event(), asyncio.Event()
        self._mesh.children.insert(-1 if self._mesh.children else 0, child)  # the gateway stays last
        self._begin(spec)
        self._mesh.save(self._data)

    async def remove(self, name: str) -> None:
        """Ends a child for good; it must be one that no other needs."""
        spec, keeper = self._specs[name], self._keepers[name]
        self._set_child(name, states.STOPPING)
        self._ending[name].set()
        while not keeper.done():  # its process may just be starting
            await self._end(spec)
            await asyncio.wait({keeper}, timeout=_PROBE_SECONDS)
        self._mesh.children.remove(self._states[name])
        self._mesh.save(self._data)
        for table in (self._specs, self._states, self._serving, self._ending, self._keepers, self._processes):
            table.pop(name, None)
        self._logs.pop(name).close()

    async def run(
        self,
        on_serving: Callable[[], None] | None = None,
        *,
        beside: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Starts all, and returns when all have ended after `stop` or a signal.

        Args:
            on_serving: called when all serve.
            beside: runs from then on until the end; may add and remove children.

        Raises:
            StartFailed: the mesh did not come up; what had started is ended again.
        """
        loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        for spec in self._specs.values():
            self._begin(spec)
        up = asyncio.create_task(self._until_serving(), name="until serving")
        stopped = asyncio.create_task(self._stop.wait(), name="until stopped")
        others: list[asyncio.Task[None]] = []
        try:
            self._set_mesh(states.STARTING)
            await self._first(up, stopped, self._broken)
            if not self._stop.is_set():
                self._mesh.serving_at = states.now()
                self._set_mesh(states.SERVING)
                if on_serving:
                    on_serving()
                if beside:
                    others = [asyncio.create_task(_run(beside), name="beside")]
                await self._first(stopped, self._broken, *others)
        finally:
            self._stop.set()
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for event in self._ending.values():
                event.set()
            self._set_mesh(states.STOPPING)
            await self._end_all()
            ended: list[asyncio.Future[Any]] = [up, stopped, self._broken, *self._keepers.values()]
            for one in ended:
                one.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
            for log in self._logs.values():
                log.close()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def _first(self, *tasks: asyncio.Future[Any]) -> None:
        """Waits until one of the tasks ends, and raises what it raised."""
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _begin(self, spec: ChildSpec) -> None:
        self._logs[spec.name] = ChildLog(spec.name, self._data.log(spec.name), self._take)
        keeper = asyncio.create_task(self._keep(spec), name=f"keep {spec.name}")
        keeper.add_done_callback(self._kept)
        self._keepers[spec.name] = keeper

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """Brings what a keeper raised to `run`."""
        if keeper.cancelled() or self._broken is None or self._broken.done():
            return
        if (error := keeper.exception()) is not None:
            self._broken.set_exception(error)

    async def _until_serving(self) -> None:
        try:
            async with asyncio.timeout(self._start_seconds):
                for event in self._serving.values():
                    await event.wait()
        except TimeoutError:
            late = self._mesh.waiting_for()
            message = f"{', '.join(late)} did not serve within {self._start_seconds:.0f} s"
            raise StartFailed(late[0], message, self._logs[late[0]].last) from None

    async def _keep(self, spec: ChildSpec) -> None:
        """Keeps one child running until the mesh stops."""
        for name in spec.needs:
            await self._serving[name].wait()
        child, delay, failures = self._states[spec.name], _FIRST_DELAY, 0
        ending = self._ending[spec.name]
        while not ending.is_set():
            begun = asyncio.get_running_loop().time()
            how = await self._run_once(spec)
            if ending.is_set():
                return
            child.restarts += 1
            child.last_exit = how
            self._set_child(spec.name, states.CRASHED, pid=0, started=0)
            failures = 0 if self._serving[spec.name].is_set() else failures + 1
            if failures >= _STARTS_BEFORE_GIVING_UP and self._mesh.state != states.SERVING:
                lines = list(self._logs[spec.name].last)
                message = f"{spec.name} does not start: {failures} times it ended with {how}"
                if said := reason(lines):
                    message += f", saying: {said}"
                raise StartFailed(spec.name, message, lines)
            if asyncio.get_running_loop().time() - begun >= _STEADY_SECONDS:
                delay = _FIRST_DELAY
            self._say("warning", f"{spec.name} ended with {how}; it starts again in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _run_once(self, spec: ChildSpec) -> str:
        self._logs[spec.name].last.clear()  # what the process before had to say
        try:
            process = await ChildProcess.start(spec, self._logs[spec.name], self._data.run)
        except OSError as error:
            return str(error)
        self._processes[spec.name] = process
        self._set_child(spec.name, states.STARTING, pid=process.pid, started=process.started)
        probing = asyncio.create_task(self._probe(spec), name=f"probe {spec.name}")
        try:
            return await process.wait()
        finally:
            probing.cancel()

    async def _probe(self, spec: ChildSpec) -> None:
        while not await spec.ready():  # noqa: ASYNC110  (another process has no event to wait for)
            await asyncio.sleep(_PROBE_SECONDS)
        self._set_child(spec.name, states.SERVING)
        self._serving[spec.name].set()
        self._say("info", f"{spec.name} serves")

    async def _end_all(self) -> None:
        """Ends the children, those that others need last."""
        left = dict(self._specs)
        while left:
            needed = {name for spec in left.values() for name in spec.needs}
            wave = [spec for name, spec in left.items() if name not in needed]
            await asyncio.gather(*(self._end(spec) for spec in wave))
            for spec in wave:
                del left[spec.name]

    async def _end(self, spec: ChildSpec) -> None:
        process = self._processes.get(spec.name)
        if process and not await process.stop(spec.stop_seconds):
            self._say("warning", f"{spec.name} did not end within {spec.stop_seconds:g} s and was killed")
        self._set_child(spec.name, states.STOPPED, pid=0, started=0)

    def _take(self, record: Record) -> None:
        """Gives a record on, and remembers what keeps a child from serving."""
        child = self._states[record.child]
        if child.state == states.STARTING and record.level in _TROUBLE:
            child.trouble = " ".join(filter(None, (record.event, str(record.fields.get("error", "")))))
            self._mesh.save(self._data)
        self._sink(record)

    def _set_child(self, name: str, state: str, *, pid: int | None = None, started: int | None = None) -> None:
        child = self._states[name]
        child.state = state
        if state == states.SERVING:
            child.trouble = ""
        child.pid = child.pid if pid is None else pid
        child.started = child.started if started is None else started
        self._mesh.save(self._data)

    def _set_mesh(self, state: str) -> None:
        self._mesh.state = state
        self._mesh.save(self._data)

    def _say(self, level: str, event: str) -> None:
        self._sink(Record(SUPERVISOR, datetime.now(UTC), level, event))


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
