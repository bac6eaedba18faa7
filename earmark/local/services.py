"""The services of the embedded mesh: one row a child, configured by environment alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import earmark
from earmark.local import probes
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from earmark.local.ports import HOST
from earmark.local.process import ChildSpec

SHARDS = 2
TRANSCRIBER, EMBEDDER, GATEWAY = "transcriber", "embedder", "gateway"
INDEXERS = tuple(f"indexer-{ordinal}" for ordinal in range(SHARDS))
METRICS = "-metrics"
HTTP = "gateway-http"
PORT_NAMES = (
    *(TRANSCRIBER, TRANSCRIBER + METRICS, EMBEDDER, EMBEDDER + METRICS, GATEWAY),
    *(name + suffix for name in INDEXERS for suffix in ("", METRICS)),
)
"""What needs a port besides the gateway's HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the services are told about their surroundings."""

    data: DataDir
    models: ModelPaths
    ports: Mapping[str, int]
    nats_url: str
    mongo_url: str
    object_store_url: str
    cores: int

    @property
    def http_url(self) -> str:
        """URL of the gateway and its page."""
        return f"http://{HOST}:{self.ports[HTTP]}"


def table(wiring: Wiring, *, servers: tuple[str, ...]) -> list[ChildSpec]:
    """The services, each after those it needs.

    Args:
        wiring: where everything is.
        servers: names of the embedded servers that must answer before any service starts.
    """
    ports, workers = wiring.ports, _workers(wiring.cores)
    transcriber = _service(
        wiring,
        TRANSCRIBER,
        "transcriber",
        {
            "EARMARK_ASR_MODEL": wiring.models.asr,
            "EARMARK_RECOGNIZER_WORKERS": str(workers),
            "EARMARK_SPOOL_DIR": str(wiring.data.spool),
            **_threads(1),
        },
        servers,
    )
    embedder = _service(
        wiring,
        EMBEDDER,
        "embedder",
        {
            "EARMARK_EMBEDDING_MODEL": wiring.models.embedding,
            "EARMARK_EMBEDDING_CACHE_DIR": str(wiring.data.models),
            "EARMARK_EMBEDDING_QUERY_THREADS": str(min(2, wiring.cores)),
            **_threads(1),
        },
        servers,
    )
    indexers = [
        _service(
            wiring,
            name,
            "indexer",
            {
                "EARMARK_SHARDS": str(SHARDS),
                "EARMARK_INDEXER_ORDINAL": str(ordinal),
                "EARMARK_INDEX_DIR": str(wiring.data.indexer(ordinal, 0)),
                **_threads(1),
            },
            servers,
        )
        for ordinal, name in enumerate(INDEXERS)
    ]
    gateway = _service(
        wiring,
        GATEWAY,
        "gateway",
        {
            "EARMARK_HTTP_HOST": HOST,
            "EARMARK_HTTP_PORT": str(ports[HTTP]),
            "EARMARK_EMBEDDER_TARGET": f"{HOST}:{ports[EMBEDDER]}",
            "EARMARK_SHARD_TARGETS": json.dumps([[f"{HOST}:{ports[name]}"] for name in INDEXERS]),
            **_threads(1),
            # Uploads arrive in blocks of 256 KiB; by default malloc maps and unmaps each (measured: 3 × slower reads).
            "MALLOC_MMAP_THRESHOLD_": "16777216",
            "MALLOC_TRIM_THRESHOLD_": "67108864",
        },
        servers,
    )
    return [transcriber, embedder, *indexers, gateway]


def _service(wiring: Wiring, name: str, module: str, own: Mapping[str, str], needs: tuple[str, ...]) -> ChildSpec:
    port = wiring.ports[name]
    environment = {
        # `services` lies beside `earmark`, in a checkout as in site-packages.
        "PYTHONPATH": str(Path(earmark.__file__).resolve().parents[1]),
        "EARMARK_NATS_URL": wiring.nats_url,
        "EARMARK_MONGO_URL": wiring.mongo_url,
        "EARMARK_OBJECT_STORE_URL": wiring.object_store_url,
        "EARMARK_GRPC_HOST": HOST,
        "EARMARK_GRPC_PORT": str(port),
        "EARMARK_METRICS_PORT": str(wiring.ports.get(name + METRICS, 0)),
        "EARMARK_LOG_FORMAT": "json",
        # Nobody balances over this host, so nobody needs time to notice that it goes.
        "EARMARK_DRAIN_SECONDS": "0",
        "EARMARK_SHUTDOWN_GRACE_SECONDS": "6",
        **own,
    }
    defaults = {"EARMARK_GRPC_REFLECTION": "true"}
    environment |= {key: value for key, value in defaults.items() if key not in os.environ}

    async def ready() -> bool:
        return await probes.grpc_serves(HOST, port)

    return ChildSpec(
        name=name,
        command=(sys.executable, "-m", f"services.{module}"),
        environment=environment,
        needs=needs,
        ready=ready,
    )


def _workers(cores: int) -> int:
    # One decoder gains nothing from a second thread; as many one-thread decoders as cores do (docs/benchmarks.md).
    return max(1, min(cores, 8))


def _threads(count: int) -> dict[str, str]:
    """Keeps libraries from starting a thread a core each in every child; the models' own threads are settings."""
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(count))
