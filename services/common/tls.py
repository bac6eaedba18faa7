"""TLS inside the mesh: both sides of a call show a certificate of the mesh's own authority, read again when renewed.

A folder holds `tls.crt`, `tls.key` and `ca.crt`, as cert-manager and Kubernetes name them. Every certificate carries
the name `MESH_NAME`, which clients ask for in place of the host's: peers are found by addresses, and whoever has a
certificate of that authority is of the mesh. Who may call what is not decided here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import grpc
import structlog

from services.common.errors import FailedPrecondition

log = structlog.get_logger()

MESH_NAME = "mesh.earmark.internal"
CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
LOOK_SECONDS = 10.0
RETIRE_SECONDS = 60.0

_Stamp = tuple[int, ...]


class Certificates:
    """The files of a folder, as they are now.

    Args:
        folder: Where they are.

    Raises:
        FailedPrecondition: One cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read()

    def stamp(self) -> _Stamp:
        """Gives something that changes when the files do; the last one while they are being replaced."""
        try:
            self._last = tuple((self._folder / name).stat().st_mtime_ns for name in (CERTIFICATE, KEY, AUTHORITY))
        except OSError as error:
            log.warning("tls_files_away", error=repr(error))
        return self._last

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Gives certificate chain, private key and authorities, PEM. Raises FailedPrecondition."""
        try:
            found = tuple((self._folder / name).read_bytes() for name in (CERTIFICATE, KEY, AUTHORITY))
        except OSError as error:
            raise FailedPrecondition(
                f"EARMARK_TLS_DIR={self._folder} must hold {CERTIFICATE}, {KEY} and {AUTHORITY}: {error}",
                reason="TLS_FILES_MISSING",
            ) from error
        self.stamp()
        return found  # type: ignore[return-value]  # as many as there are names


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Gives what a server listens with; each new connection gets the certificate of the moment, and must show one."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        chain, key, authorities = certificates.read()
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities)

    seen = certificates.stamp()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        stamp = certificates.stamp()
        if stamp == seen:
            return None
        try:
            fresh = configuration()
        except FailedPrecondition as error:
            log.warning("tls_not_renewed", error=error.message)
            return None
        seen = stamp
        return fresh

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        renewed,  # type: ignore[arg-type]  # None says "as before", which the stubs leave out
        require_client_authentication=True,
    )


def channel(
    target: str, options: list[tuple[str, Any]], certificates: Certificates, *, look_seconds: float = LOOK_SECONDS
) -> grpc.aio.Channel:
    """Opens a channel to a server of the mesh, and another one in its place when the certificate is renewed."""

    def open_one() -> grpc.aio.Channel:
        chain, key, authorities = certificates.read()
        credentials = grpc.ssl_channel_credentials(authorities, key, chain)
        return grpc.aio.secure_channel(
            target, credentials, options=[*options, ("grpc.ssl_target_name_override", MESH_NAME)]
        )

    return _Renewed(open_one, certificates.stamp, look_seconds=look_seconds)


def client_context(folder: Path) -> ssl.SSLContext:
    """Gives what a client of NATS verifies its server with: the mesh's authority, and those of the system."""
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=folder / AUTHORITY)
    return context


class _Renewed(grpc.aio.Channel):
    """A channel that opens another one in its place when `stamp` changes; calls under way end on the one before."""

    def __init__(
        self, open_one: Callable[[], grpc.aio.Channel], stamp: Callable[[], _Stamp], *, look_seconds: float
    ) -> None:
        self._open = open_one
        self._stamp = stamp
        self._look_seconds = look_seconds
        self._channel = open_one()
        self._seen = stamp()
        self._looked_at = time.monotonic()
        self._retiring: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """Gives the channel to call on."""
        now = time.monotonic()
        if now - self._looked_at >= self._look_seconds:
            self._looked_at = now
            stamp = self._stamp()
            if stamp != self._seen:
                self._renew(stamp)
        return self._channel

    def _renew(self, stamp: _Stamp) -> None:
        try:
            fresh = self._open()
        except FailedPrecondition as error:
            log.warning("tls_not_renewed", error=error.message)
            return
        before, self._channel, self._seen = self._channel, fresh, stamp
        task = asyncio.get_running_loop().create_task(before.close(RETIRE_SECONDS), name="retire-channel")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes it, and those before it."""
        for task in list(self._retiring):
            task.cancel()
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See grpc.aio.Channel."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See grpc.aio.Channel."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See grpc.aio.Channel."""
        await self.current().channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Call(self, "unary_unary", args, options)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Call(self, "unary_stream", args, options)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Call(self, "stream_unary", args, options)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Call(self, "stream_stream", args, options)


class _Call:
    """A method of a stub, called on whichever channel is the current one."""

    __slots__ = ("_args", "_callable", "_kind", "_of", "_options", "_owner")

    def __init__(self, owner: _Renewed, kind: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._owner = owner
        self._kind = kind
        self._args = args
        self._options = options
        self._of: grpc.aio.Channel | None = None
        self._callable: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        channel = self._owner.current()
        if channel is not self._of:
            self._callable = getattr(channel, self._kind)(*self._args, **self._options)
            self._of = channel
        return self._callable(*args, **options)
