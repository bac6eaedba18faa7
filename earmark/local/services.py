"""The services of the embedded mesh: one row a child, configured by environment alone."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import earmark
from earmark.local import probes
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from earmark.local.ports import HOST
from earmark.local.process import ChildSpec

SHARDS, REPLICAS = 2, 1
"""Of the index of a new mesh."""
TRANSCRIBER, EMBEDDER, GATEWAY = "transcriber", "embedder", "gateway"
METRICS = "-metrics"
HTTP = "gateway-http"
_INDEXER = re.compile(r"indexer-(\d+)(?:\.(\d+))?")


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
    shards: int = SHARDS
    """Shards the slot table gets when there is none yet."""
    gateway_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the gateway is told where it takes keys, see `access.py`."""

    @property
    def http_url(self) -> str:
        """URL of the gateway and its page."""
        return f"http://{HOST}:{self.ports[HTTP]}"


class Place(NamedTuple):
    """Where an indexer stands in the index."""

    shard: int
    replica: int

    @property
    def child(self) -> str:
        """Name of the child: `indexer-2`, and `indexer-2.1` for a further replica."""
        return f"indexer-{self.shard}" + (f".{self.replica}" if self.replica else "")

    @property
    def port_names(self) -> tuple[str, str]:
        """What it needs ports for."""
        return self.child, self.child + METRICS

    @classmethod
    def of(cls, child: str) -> Place | None:
        """The place of a child of this name; None when it is no indexer."""
        match = _INDEXER.fullmatch(child)
        return cls(int(match[1]), int(match[2] or 0)) if match else None


def places(shards: int, replicas: int) -> list[Place]:
    """The indexers of so many shards with so many replicas."""
    return [Place(shard, replica) for replica in range(replicas) for shard in range(shards)]


def port_names(indexers: Iterable[Place]) -> list[str]:
    """What needs a port besides the gateway's HTTP."""
    fixed = [TRANSCRIBER, TRANSCRIBER + METRICS, EMBEDDER, EMBEDDER + METRICS, GATEWAY]
    return [*fixed, *(name for place in indexers for name in place.port_names)]


def unheeded_settings() -> list[str]:
    """What of the environment the mesh of one machine does not heed though somebody may count on it."""
    host = os.environ.get("EARMARK_HTTP_HOST")
    if not host or host in (HOST, "localhost"):
        return []
    note = (
        f"EARMARK_HTTP_HOST={host} is not heeded: this mesh listens on {HOST} alone. To let other machines in, set "
        "EARMARK_ACCESS=keys and put a proxy with TLS in front of it (docs/security.md)"
    )
    return [note]


def table(wiring: Wiring, *, servers: tuple[str, ...], indexers: Iterable[Place]) -> list[ChildSpec]:
    """The services, each after those it needs.

    Args:
        wiring: where everything is.
        servers: names of the embedded servers that must answer before any service starts.
        indexers: the indexers to begin with.
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
    gateway = _service(
        wiring,
        GATEWAY,
        "gateway",
        {
            "EARMARK_HTTP_HOST": HOST,
            "EARMARK_HTTP_PORT": str(ports[HTTP]),
            "EARMARK_EMBEDDER_TARGET": f"{HOST}:{ports[EMBEDDER]}",
            **wiring.gateway_secrets,
            **_threads(1),
            # Uploads arrive in blocks of 256 KiB; by default malloc maps and unmaps each (measured: 3 × slower reads).
            "MALLOC_MMAP_THRESHOLD_": "16777216",
            "MALLOC_TRIM_THRESHOLD_": "67108864",
        },
        servers,
    )
    return [transcriber, embedder, *(indexer(wiring, place, servers=servers) for place in indexers), gateway]


def indexer(wiring: Wiring, place: Place, *, servers: tuple[str, ...]) -> ChildSpec:
    """One indexer, whose ports `wiring` has."""
    own = {
        "EARMARK_SHARDS": str(wiring.shards),
        "EARMARK_INDEXER_SHARD": str(place.shard),
        "EARMARK_INDEXER_REPLICA": str(place.replica),
        "EARMARK_ADVERTISE": f"{HOST}:{wiring.ports[place.child]}",
        "EARMARK_INDEX_DIR": str(wiring.data.indexer(place.shard, place.replica)),
        **_threads(1),
    }
    return _service(wiring, place.child, "indexer", own, servers)


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
