"""Real servers for the tests, as the embedded mesh starts them: NATS with JetStream, MongoDB or its stand-in."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from earmark.local import servers
from earmark.local.paths import DataDir
from earmark.local.process import ChildSpec
from earmark.local.servers import MissingProgram, find_program
from tests.support.ports import free_port
from tests.support.waiting import eventually_sync

__all__ = ["MissingProgram", "find_program", "mongo_server", "nats_server"]

START_TIMEOUT_SECONDS = 60.0
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 * 2**30


@contextmanager
def quick_folder(temporary: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the data of a server: in memory where there is room.

    Servers sync every write before they acknowledge it, and the disk of a busy machine takes longer over that than the
    test over everything else. What is killed finds its data again either way; only a machine without power would not.
    """
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        with TemporaryDirectory(prefix="earmark-test-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    else:
        yield temporary.mktemp("server")


@contextmanager
def nats_server(data_dir: Path, *, port: int | None = None) -> Iterator[str]:
    """A ``nats-server`` with JetStream on loopback; yields its ``nats://`` URL.

    Args:
        data_dir: where its data, configuration and log are; starting again on the same folder finds the streams again.
        port: for a restart on the port that clients already know.

    Raises:
        MissingProgram: it is not installed.
    """
    port = port or free_port()
    with _running(servers.nats, data_dir, port):
        yield servers.nats_url(port)


@contextmanager
def mongo_server(data_dir: Path, *, port: int | None = None) -> Iterator[str]:
    """``mongod`` if there is one, else its stand-in ``secantusd-py``, on loopback; yields its ``mongodb://`` URL.

    Raises:
        MissingProgram: neither is installed.
    """
    port = port or free_port()
    with _running(servers.mongo, data_dir, port):
        yield servers.mongo_url(port)


@contextmanager
def _running(starter: Callable[[DataDir, int], ChildSpec], data_dir: Path, port: int) -> Iterator[None]:
    data = DataDir(data_dir)
    data.run.mkdir(parents=True, exist_ok=True)
    spec = starter(data, port)
    log = data.run / f"{spec.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            spec.command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **spec.environment}
        )
    # The probe is async and the caller may be inside an event loop, so it gets a loop in a thread of its own.
    with ThreadPoolExecutor(1, "server-probe") as prober:

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{spec.name} ended with {process.returncode}: {log.read_text()[-2000:]}")
            return prober.submit(lambda: asyncio.run(spec.ready())).result()  # type: ignore[arg-type]

        try:
            eventually_sync(answers, START_TIMEOUT_SECONDS, message=f"{spec.name} answering")
            yield
        finally:
            process.terminate()
            try:
                process.wait(spec.stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
