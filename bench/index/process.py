"""The driver's side of a worker: starts it, gives orders, waits no longer than told."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.index.worker import Answer

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120
GRACE_SECONDS = 10


class Failed(Exception):
    """The engine gave no answer; the message goes into the table."""


class Process:
    """An engine in its own process, with its own Python.

    Args:
        name: of the engine.
        python: the interpreter that has the engine's package.
        folder: for the engine's files.
        data: of the data set.
        threads: for whatever the engine computes in parallel.
        memory_gib: more, and the engine is given up before it takes the machine down.
    """

    def __init__(self, name: str, *, python: Path, folder: Path, data: Path, threads: int, memory_gib: float) -> None:
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
        command = [str(python), "-m", "bench.index.worker", "--engine", name, "--folder", str(folder.resolve())]
        self._process = subprocess.Popen(
            [*command, "--data", str(data.resolve()), "--threads", str(threads), "--memory-gib", str(memory_gib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("ab"),
            cwd=REPOSITORY,
            env=os.environ | counts | {"RUST_LOG": "error", "PYTHONWARNINGS": "ignore"},
        )
        try:
            self._answer(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def order(self, do: str, limit: float = 120, **arguments: Any) -> Answer:
        """Gives an order and waits for its answer.

        Args:
            do: a method of the worker.
            limit: seconds to wait; then the process is killed.
            arguments: of the method.

        Raises:
            Failed: the engine cannot, raised, died, or took longer.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed("died") from error
        return self._answer(limit)

    def _answer(self, limit: float) -> Answer:
        assert self._process.stdout is not None
        end, line = time.monotonic() + limit, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0, end - time.monotonic())):
                    self._process.kill()
                    raise Failed(f"> {limit:.0f} s")
                part = os.read(self._process.stdout.fileno(), 1 << 20)
                if not part:
                    raise Failed(f"died ({self._process.wait()})")
                line += part
        answer: Answer = json.loads(line)
        if reason := answer.get("error") or answer.get("unsupported"):
            raise Failed(str(reason))
        return answer

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{self.name} does not end by itself", file=sys.stderr)
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
