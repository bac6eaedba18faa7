"""Settings of the indexer."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from services.common.settings import CommonSettings


class Settings(CommonSettings):
    """Read from `EARMARK_…`."""

    grpc_port: int = Field(default=50053, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int = Field(default=9103, ge=0, le=65535)
    """Port of `/metrics`; 0 means none."""
    shards: int = Field(default=2, ge=1, le=256)
    """Shards the index is cut into."""
    indexer_ordinal: int = Field(default=-1, ge=-1)
    """Number of this indexer among all. It is replica `ordinal // shards` of shard `ordinal % shards`.
    Left out, it is the number the host's name ends with, which is how a StatefulSet numbers its pods."""
    index_dir: Path = Path("/var/lib/earmark/index")
    """Folder of this replica alone: its snapshots and its working files. Losing it costs a rebuild, nothing else."""
    snapshot_seconds: float = Field(default=60, ge=0.05, le=86_400)
    """Time between snapshots, while something changes."""
    search_threads: int = Field(default=min(4, os.cpu_count() or 1), ge=1, le=256)
    """Searches that run at once."""
    search_queue: int = Field(default=64, ge=0, le=10_000)
    """Searches that may wait; one more is refused with RESOURCE_EXHAUSTED."""

    @model_validator(mode="after")
    def _ordinal_from_host(self) -> Self:
        if self.indexer_ordinal < 0:
            match = re.search(r"-(\d+)$", socket.gethostname().split(".")[0])
            if match is None:
                raise ValueError("set EARMARK_INDEXER_ORDINAL: the host's name does not end with a number")
            self.indexer_ordinal = int(match[1])
        return self

    @property
    def shard(self) -> int:
        """Number of the shard this indexer serves."""
        return self.indexer_ordinal % self.shards

    @property
    def replica(self) -> int:
        """Number of the replica of that shard."""
        return self.indexer_ordinal // self.shards
