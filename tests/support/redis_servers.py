"""A Redis to cache in: the real one where it is installed, else one that behaves like it, in a thread."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator

import redis
from fakeredis import TcpFakeServer

from tests.support.ports import free_port
from tests.support.servers import find_program


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Gives the URL of an empty Redis."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    program = find_program("redis-server")
    if program:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            _until_it_answers(url)
            yield url
        finally:
            process.kill()
            process.wait()
        return
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        _until_it_answers(url)
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _until_it_answers(url: str) -> None:
    client = redis.Redis.from_url(url, socket_timeout=1)
    for _ in range(100):
        try:
            client.ping()
        except redis.RedisError:
            time.sleep(0.05)  # noqa: TID251  (no event loop here)
        else:
            break
    else:
        raise TimeoutError(f"no Redis answers at {url}")
    client.close()
