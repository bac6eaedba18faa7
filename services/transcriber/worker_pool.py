"""Recognizers in child processes: as many one-thread models as there are cores, each of which may die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.common.errors import EarmarkError, Overloaded, Unavailable
from services.common.transcript import segment_from
from services.transcriber.machine import available_bytes, available_cores
from services.transcriber.recognizer import Instructions, Recognition
from services.transcriber.worker import WorkerSpec

log = structlog.get_logger()

_LINE_LIMIT = 64 * 1024 * 1024
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0
_NOTHING_KNOWN = Instructions()
_WORKING_FACTOR = 2.0
"""What a worker takes on a slice of five minutes, in terms of what it takes when it has loaded its model (base, int8:
measured 1.9; with two and four threads 2.5 and 3.3, but then others have nothing to do and take 1.2)."""
_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(4 * 1024**3)}
"""Freed memory stays with the process. By default glibc maps each large block anew (the encoder takes 72 MiB a layer),
and a sixth of the processor's time went into clearing its pages. More arenas than one would map their heaps as well.
The worker gives memory back when it has nothing to do."""
_MEMORY_SHARE = 0.8
"""Share of the memory available that workers may take; the rest is for decoders and for whatever else runs here."""


class RecognizerFailed(EarmarkError):
    """A worker died, hung or could not do a slice; another attempt may go well."""

    reason = "RECOGNIZER_FAILED"
    code = "INTERNAL"
    transient = True


class ModelUnavailable(Unavailable):
    """No worker has loaded its model yet, or none can."""

    reason = "MODEL_NOT_LOADED"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How a pool is bounded.

    Attributes:
        workers: Child processes; 0 is one a core as far as memory goes, or one where there is a GPU.
        queue: Callers that may wait for a worker, of those that may be refused.
        load_seconds: Time a worker has to load its model.
        base_seconds: Time a recognition has, whatever its length.
        seconds_per_second: And this much more for each second of audio.
    """

    workers: int = 0
    queue: int = 4
    load_seconds: float = 300.0
    base_seconds: float = 60.0
    seconds_per_second: float = 10.0


class _Died(Exception):
    """The worker is gone; says why."""


class _Worker:
    """One child process and the talk with it."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, device: str) -> None:
        self._process = process
        self.name = name
        self.device = device
        self.loaded_bytes = 0
        self._lanes = 1

    @classmethod
    async def start(cls, spec: WorkerSpec, load_seconds: float) -> _Worker:
        threads = str(spec.options.get("threads", 1))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.transcriber.worker",
            orjson.dumps(asdict(spec)).decode(),
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env={
                **os.environ,
                **_MALLOC,
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                "OMP_NUM_THREADS": threads,
                "OPENBLAS_NUM_THREADS": threads,
            },
            start_new_session=True,  # a Ctrl-C in a terminal is the parent's to handle
        )
        worker = cls(process, "", "")
        try:
            answer = await worker._answer(load_seconds)
            if "failed" in answer:
                raise ModelUnavailable(answer["failed"])
        except BaseException:
            worker.kill()
            await worker.wait()
            raise
        ready = answer["ready"]
        worker.name, worker.device, worker.loaded_bytes = ready["name"], ready["device"], ready["bytes"]
        return worker

    async def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps(request) + b"\n")
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError):  # the latter is uvloop's, for a pipe that is closed already
            raise _Died(await self._cause()) from None
        return await self._answer(seconds)

    def allow(self, lanes: int) -> None:
        """Says how many threads it may use from now on."""
        if lanes == self._lanes or not self.alive:
            return
        assert self._process.stdin is not None
        self._lanes = lanes
        # It may be about to end; uvloop tells a closed pipe by RuntimeError.
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(orjson.dumps({"lanes": lanes}) + b"\n")

    async def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise _Died(f"no answer within {seconds:.0f} s") from None
        if not line.endswith(b"\n"):
            raise _Died(await self._cause())
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    async def _cause(self) -> str:
        status = await self._process.wait()
        return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> None:
        await self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Lease:
    """A worker, held for one slice."""

    def __init__(self, worker: _Worker, limits: PoolLimits) -> None:
        self._worker = worker
        self._limits = limits
        self.sound = True
        """Whether the worker can be asked again."""

    @property
    def name(self) -> str:
        """The model."""
        return self._worker.name

    async def recognize(self, audio: Path, seconds: float, instructions: Instructions = _NOTHING_KNOWN) -> Recognition:
        """Recognizes a slice.

        Args:
            audio: Its FLAC file.
            seconds: Its length, on which the time limit depends.
            instructions: What is known of it.

        Raises:
            RecognizerFailed: The worker died, ran out of time, or could not do it.
        """
        limit = self._limits.base_seconds + seconds * self._limits.seconds_per_second
        # Until the answer is here: who goes away in the middle leaves a worker that cannot be asked anything else.
        self.sound = False
        try:
            answer = await self._worker.ask({"audio": str(audio), **asdict(instructions)}, limit)
        except _Died as death:
            raise RecognizerFailed(f"the recognizer stopped in the middle of a slice ({death})") from death
        if "error" in answer:
            raise RecognizerFailed(f"the slice could not be transcribed: {answer['error']}")
        self.sound = True
        return _recognition(answer["ok"])


class WorkerPool:
    """Lends workers. `run` keeps them alive; a crash costs the slice at hand one attempt, and nothing else.

    Args:
        spec: What each worker holds.
        limits: Bounds.
    """

    def __init__(self, spec: WorkerSpec, limits: PoolLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._alive: set[_Worker] = set()
        self._busy: list[_Worker] = []
        self._waiting = 0
        self._name = ""
        self._size = limits.workers or available_cores()
        self.places = asyncio.Semaphore(0)
        """One for each worker there is, from when it is first there: what a consumer of slices may fetch for."""

    @property
    def size(self) -> int:
        """Workers there are when all is well; a GPU is known of only once the first has started."""
        return self._size

    @property
    def name(self) -> str:
        """The model; empty until one is loaded."""
        return self._name

    async def ready(self) -> bool:
        """Says whether a model is loaded."""
        return any(worker.alive for worker in self._alive)

    async def run(self) -> None:
        """Starts the workers, and a new one for each that ends, until cancelled."""
        try:
            # One first: it says whether there is a GPU, and downloads a model that is not here yet once.
            first = await self._start()
            if not self._limits.workers:
                self._size = _fitting(self._size, first)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(first), name="recognizer-0")
                for number in range(1, self._size):
                    group.create_task(self._keep(None), name=f"recognizer-{number}")
        finally:
            for worker in self._alive:
                worker.kill()
            await asyncio.gather(*(worker.wait() for worker in self._alive))

    async def _keep(self, worker: _Worker | None) -> None:
        """Keeps one place in the pool taken."""
        kept = worker or await self._start()
        self.places.release()
        while True:
            await kept.wait()
            log.warning("recognizer_ended", model=kept.name)
            self._alive.discard(kept)
            self._share()
            kept = await self._start()

    async def _start(self) -> _Worker:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                return self._admit(await _Worker.start(self._spec, self._limits.load_seconds))
            except (_Died, ModelUnavailable, OSError) as error:
                log.error("recognizer_not_started", error=str(error), again_in_seconds=backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)

    def _admit(self, worker: _Worker) -> _Worker:
        self._name = worker.name
        self._alive.add(worker)
        self._free.put_nowait(worker)
        self._share()
        log.info("recognizer_started", model=worker.name, device=worker.device, workers=len(self._alive))
        return worker

    @contextlib.asynccontextmanager
    async def lease(self, *, wait: bool) -> AsyncIterator[Lease]:
        """Lends a worker for one slice.

        Args:
            wait: Whether to wait however long for a free worker, or to be refused when the queue is full.

        Raises:
            Overloaded: Every worker is busy and the queue is full.
            ModelUnavailable: No model is loaded.
        """
        if not wait:
            if not await self.ready():
                raise ModelUnavailable("the speech model is not loaded yet; try again shortly", retry_after_seconds=2)
            if self._free.empty() and self._waiting >= self._limits.queue:
                raise Overloaded("every recognizer is busy and the queue is full; try again", retry_after_seconds=5)
        worker = await self._take()
        self._busy.append(worker)
        self._share()
        lease = Lease(worker, self._limits)
        try:
            yield lease
        finally:
            self._busy.remove(worker)
            if lease.sound:
                self._free.put_nowait(worker)
            else:
                worker.kill()
            self._share()

    def _share(self) -> None:
        """Lets the workers that are busy use the cores of those that are not, for example for the last slice."""
        idle = len(self._alive) - len(self._busy)
        for place, worker in enumerate(self._busy):
            worker.allow(1 + idle // len(self._busy) + (place < idle % len(self._busy)))

    async def _take(self) -> _Worker:
        self._waiting += 1
        try:
            while True:
                worker = await self._free.get()
                if worker.alive:
                    return worker
        finally:
            self._waiting -= 1


def _fitting(cores: int, first: _Worker) -> int:
    """Gives how many workers there should be: one a core as far as memory goes, one on a GPU."""
    if first.device == "cuda":
        return 1
    memory = available_bytes()
    if memory is None or not first.loaded_bytes:
        return cores
    # What is available is measured while the first one is there.
    fit = 1 + int(memory * _MEMORY_SHARE / (first.loaded_bytes * _WORKING_FACTOR))
    if fit < cores:
        log.warning("fewer_recognizers_than_cores", cores=cores, workers=fit, available_mib=memory // 2**20)
    return min(cores, fit)


def _recognition(fields: dict[str, Any]) -> Recognition:
    return Recognition(**{**fields, "segments": [segment_from(segment) for segment in fields["segments"]]})
