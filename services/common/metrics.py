"""Prometheus metrics, named `earmark_<service>_<what>_<unit>`."""

from __future__ import annotations

from contextlib import AsyncExitStack

import structlog
from prometheus_client import start_http_server

log = structlog.get_logger()

LATENCY_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2, 4, 8)
"""Buckets for calls."""
WORK_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""Buckets for work on a slice or a video."""


def serve(host: str, port: int, stack: AsyncExitStack) -> None:
    """Serves `/metrics` from a thread, so that it answers while the event loop is busy; port 0 serves none."""
    if port == 0:
        return
    server, thread = start_http_server(port, host)
    log.info("metrics_serving", host=host, port=port)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    stack.callback(close)
