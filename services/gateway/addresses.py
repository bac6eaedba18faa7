"""Where the processes of a service are: a list, a name that is looked up again and again, or what a cluster says."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

log = structlog.get_logger()

RESOLVE_SECONDS = 1.0
_SCHEMES = ("dns:///", "dns:", "ipv4:", "ipv6:")
"""Of gRPC's names for targets those that say nothing which the address itself does not say."""


class Address(NamedTuple):
    """Where one process is."""

    target: str
    """`host:port`, for a channel of its own."""
    owner: str = ""
    """Who is there, where that is known: another owner at the same target is another process."""
    leaving: bool = False
    """Whether it is about to end: it still answers, but is asked only when nobody else can."""


class Addresses(Protocol):
    """Knows where the processes of a service are."""

    @property
    def current(self) -> Sequence[Address]:
        """The addresses last known. While nothing new can be known, they stay."""
        ...

    def listen(self, changed: Callable[[], None]) -> None:
        """Has `changed` called after each change. It must not wait."""
        ...

    async def run(self) -> None:
        """Keeps them up to date, for ever."""
        ...


class Known:
    """What the sources have in common: the addresses, and who wants to know of changes."""

    def __init__(self, addresses: Sequence[Address] = ()) -> None:
        self._current = tuple(addresses)
        self._listeners: list[Callable[[], None]] = []

    @property
    def current(self) -> Sequence[Address]:
        """The addresses last known."""
        return self._current

    def listen(self, changed: Callable[[], None]) -> None:
        """Has `changed` called after each change."""
        self._listeners.append(changed)

    def _set(self, addresses: Sequence[Address]) -> None:
        if tuple(addresses) == self._current:
            return
        self._current = tuple(addresses)
        for changed in self._listeners:
            changed()


class StaticAddresses(Known):
    """Addresses that stay as they are given."""

    async def run(self) -> None:
        """Does nothing, for ever."""
        await asyncio.Event().wait()


class DnsAddresses(Known):
    """All addresses of a name, looked up again and again: a headless Service, or several records.

    Args:
        host: The name.
        port: The port at each address.
        every_seconds: Time between two looks.
    """

    def __init__(self, host: str, port: int, *, every_seconds: float = RESOLVE_SECONDS) -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._every = every_seconds

    async def run(self) -> None:
        """Looks the name up, for ever. While that fails the last addresses stay."""
        failing = False
        while True:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            except OSError as error:
                if not failing:
                    log.warning("name_not_resolved", host=self._host, error=str(error))
                failing = True
            else:
                failing = False
                self._set([Address(target) for target in sorted({join(info[4][0], self._port) for info in found})])
            await asyncio.sleep(self._every)


def of_target(target: str) -> Addresses:
    """Gives the source for a setting: addresses with ports, comma-separated, or one name with a port.

    Both also as gRPC writes them: `dns:///name:port`, `ipv4:address:port,address:port`, `ipv6:[address]:port`.

    Raises:
        ValueError: One is not of the form host:port, or one of several is a name: only addresses can be listed.
    """
    scheme = next((scheme for scheme in _SCHEMES if target.startswith(scheme)), "")
    parts = [part.strip() for part in target.removeprefix(scheme).split(",") if part.strip()]
    places = [split(part) for part in parts]
    if all(_is_address(host) for host, _ in places):
        return StaticAddresses([Address(join(host, port)) for host, port in places])
    if len(places) > 1:
        raise ValueError(f"{target!r} lists names; give addresses, or one name that stands for all of them")
    return DnsAddresses(*places[0])


def split(target: str) -> tuple[str, int]:
    """Splits `host:port` and `[host]:port`. Raises ValueError."""
    host, colon, port = target.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or bare or not port.isdecimal():
        raise ValueError(f"{target!r} is not of the form host:port")
    return host.strip("[]"), int(port)


def join(host: object, port: int) -> str:
    """Joins host and port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
