"""A cable between a browser and a server, that can be thin and can be pulled out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

_BLOCK = 8192


class Cable:
    """A relay on loopback.

    Args:
        url: The server at the other end.

    Attributes:
        url: This end.
        bytes_per_second: How fast bytes go to the server; 0 for as fast as they can.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._server = (address.hostname or "", address.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bytes_per_second = 0.0
        self._open: set[socket.socket] = set()
        self._pulled = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """Takes it out: what is under way breaks, and nothing gets through."""
        self._pulled.set()
        for one in list(self._open):
            _end(one)

    def plug(self) -> None:
        """Puts it in again."""
        self._pulled.clear()

    def close(self) -> None:
        """Ends it."""
        _end(self._listener)
        self.pull()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                if self._pulled.is_set():
                    near.close()
                    continue
                far = socket.create_connection(self._server)
                self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target, source is near), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, thin: bool) -> None:
        with contextlib.suppress(OSError):  # pulled
            while block := source.recv(_BLOCK):
                if thin and self.bytes_per_second:
                    self._pulled.wait(len(block) / self.bytes_per_second)
                if self._pulled.is_set():
                    break  # what lies in the cable is lost with it, and does not rush through before its end is closed
                target.sendall(block)
        for one in (source, target):
            self._open.discard(one)
            _end(one)


@contextlib.contextmanager
def cable(url: str) -> Iterator[Cable]:
    """A cable to a server, for as long as it is needed."""
    one = Cable(url)
    try:
        yield one
    finally:
        one.close()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
