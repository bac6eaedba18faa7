"""Settings of the indexer."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from services.common.settings import CommonSettings
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.places import Place, parse_places, place_of


class Settings(CommonSettings):
    """Read from `EARMARK_…`."""

    grpc_port: int = Field(default=50053, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int = Field(default=9103, ge=0, le=65535)
    """Port of `/metrics`; 0 means none."""
    shards: int = Field(default=2, ge=1, le=256)
    """Shards that a slot table gets when there is none yet; afterwards the table says how many there are."""
    indexer_ordinal: int = Field(default=-1, ge=-1)
    """Number of this indexer among all. It is replica `ordinal // shards` of shard `ordinal % shards`, unless
    `indexer_places` says otherwise. Left out, it is the number the host's name ends with, which is how a StatefulSet
    numbers its pods."""
    indexer_places: Annotated[tuple[Place, ...], NoDecode] = ()
    """Places by ordinal, `s0r0,s1r0,s0r1,…`: so a number keeps its place when the number of shards changes
    (`earmark k8s scale-shards` writes it). Numbers beyond its end are further replicas of the shards in it, in turn."""
    indexer_shard: int = Field(default=-1, ge=-1, le=255)
    """Number of the shard this indexer serves; left out, it follows from the ordinal. A shard that owns no slots yet
    waits for some (`earmark shards scale`)."""
    indexer_replica: int = Field(default=-1, ge=-1)
    """Number of the replica of that shard; left out, it follows from the ordinal."""
    advertise: str = ""
    """`host:port` at which the gateway reaches this indexer; left out, the address it listens on."""
    index_dir: Path = Path("/var/lib/earmark/index")
    """Folder of this replica alone: its snapshots and its working files. Losing it costs a rebuild, nothing else."""
    snapshot_seconds: float = Field(default=60, ge=0.05, le=86_400)
    """Time between snapshots, while something changes."""
    snapshot_upload_seconds: float = Field(default=900, ge=0, le=604_800)
    """Time between two copies of the newest snapshot into the object store, made by the first replica; 0 makes none."""
    slots_every_seconds: float = Field(default=1, ge=0.05, le=60)
    """Time between two looks at the slot table."""
    index_kind: DenseKind | None = None
    """Kind of vector index that segments get beyond `index_flat_rows` chunks; left out, `hnsw`, or `ivf` with a GPU."""
    index_flat_rows: int = Field(default=DensePolicy().flat_rows, ge=0)
    """Chunks up to which a segment is searched exactly."""
    index_recall_target: float = Field(default=DensePolicy().recall_target, gt=0, le=1)
    """Recall at 10 that segments beyond that are tuned to, each when it is built."""
    head_rows: int = Field(default=4096, ge=1, le=1_000_000)
    """Chunks that are kept in memory before they are sealed into a segment."""
    merge_factor: int = Field(default=4, ge=2, le=64)
    """Segments of about one size that are merged into one."""
    purge_seconds: float = Field(default=3600, ge=0, le=2_592_000)
    """Time after which a deleted chunk has left the files of its segment."""
    build_threads: int = Field(default=1, ge=1, le=256)
    """Threads that building a segment may use."""
    fill_processes: int = Field(default=min(2, os.cpu_count() or 1), ge=1, le=64)
    """Processes that make segments of the documents while the index is filled from them; each takes some 200 MB."""
    search_threads: int = Field(default=min(4, os.cpu_count() or 1), ge=1, le=256)
    """Searches that run at once. A gateway with more for this replica sends them together (docs/architecture.md)."""
    search_queue: int = Field(default=64, ge=0, le=10_000)
    """Searches that may wait; one more is refused with RESOURCE_EXHAUSTED."""

    @field_validator("indexer_places", mode="before")
    @classmethod
    def _parse_places(cls, value: Any) -> Any:
        return parse_places(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _ordinal_from_host(self) -> Self:
        if self.indexer_shard >= 0 and self.indexer_replica >= 0:
            return self
        if self.indexer_ordinal < 0:
            match = re.search(r"-(\d+)$", socket.gethostname().split(".")[0])
            if match is None:
                raise ValueError("set EARMARK_INDEXER_ORDINAL: the host's name does not end with a number")
            self.indexer_ordinal = int(match[1])
        return self

    @property
    def shard(self) -> int:
        """Number of the shard this indexer serves."""
        return self.indexer_shard if self.indexer_shard >= 0 else self._place.shard

    @property
    def replica(self) -> int:
        """Number of the replica of that shard."""
        return self.indexer_replica if self.indexer_replica >= 0 else self._place.replica

    @property
    def numbered_by_shards(self) -> bool:
        """Whether `shards` alone says which place this is."""
        return not self.indexer_places and (self.indexer_shard < 0 or self.indexer_replica < 0)

    @property
    def _place(self) -> Place:
        return place_of(self.indexer_ordinal, self.indexer_places, self.shards)
