"""Free TCP ports for servers that a test starts."""

import socket


def free_port() -> int:
    """A TCP port on loopback that nothing listened on a moment ago.

    A server that can bind port 0 itself should: between this call and the bind another process may take the port.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
