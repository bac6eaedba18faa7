"""Ports on loopback: kept over restarts where possible, never one that something else holds."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
_LOWEST = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def next_free(wanted: int, taken: Iterable[int] = ()) -> int:
    """The first free port from `wanted` on.

    Raises:
        OSError: none of the next hundred is free.
    """
    blocked = set(taken)
    for port in range(wanted, min(wanted + 100, 65_536)):
        if port not in blocked and is_free(port):
            return port
    raise OSError(f"no port from {wanted} to {wanted + 99} is free")


def assign(names: Iterable[str], kept: Mapping[str, int], taken: Iterable[int] = ()) -> dict[str, int]:
    """A port for each name: the one it had before if that is free, else a fresh one.

    Fresh ones lie below the range from which the kernel takes the near end of outgoing connections; otherwise a
    connection could take a child's port in the moment between its crash and its restart.
    """
    ports: dict[str, int] = {}
    used = set(taken)
    for name in names:
        port = kept.get(name, 0)
        if not port or port in used or not is_free(port):
            port = _fresh(used)
        ports[name] = port
        used.add(port)
    return ports


def holder(port: int) -> str | None:
    """Who listens on a port, e.g. `nginx (process 812)`; None when that cannot be found out."""
    inodes = _listening_sockets(port)
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or not ours to look at
            if not inodes.isdisjoint(_open_files(process)):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _open_files(process: Path) -> Iterator[str]:
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(entry.readlink())


def _fresh(used: set[int]) -> int:
    try:
        highest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        highest = 32_768
    candidates = range(_LOWEST, highest) if highest > _LOWEST + 1000 else range(_LOWEST, 60_000)
    for port in random.sample(candidates, min(len(candidates), 2000)):
        if port not in used and is_free(port):
            return port
    raise OSError("no free port found on loopback")


def _listening_sockets(port: int) -> set[str]:
    """Sockets that listen on a port, as they are named among the open files of their process."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: listening
                inodes.add(f"socket:[{fields[9]}]")
    return inodes
