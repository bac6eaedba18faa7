"""Settings of the embedder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.settings import CommonSettings
from services.embedder.device import Device


class Settings(CommonSettings):
    """Read from the environment (`EARMARK_…`)."""

    grpc_port: int = Field(default=50052, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int = Field(default=9102, ge=0, le=65535)
    """Port of `/metrics`; 0 means none."""

    embedding_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """Folder of a sentence-transformers model, or its name; `hash` or `hash:<dimension>` is mere arithmetic."""
    embedding_cache_dir: Path = Path("~/.cache/earmark/models")
    """Where models are kept after they were exported to ONNX, once."""

    embedding_device: Device = "auto"
    """Where the model computes; auto is an NVIDIA GPU if there is one (and onnxruntime-gpu is installed)."""
    embedding_query_threads: int = Field(default=2, ge=1, le=64)
    """Threads that compute one query. Two are quicker than one while the machine is idle."""
    embedding_passage_threads: int = Field(default=1, ge=1, le=64)
    """Threads that compute a batch of passages. One does the most for each second of CPU."""
    embedding_passage_niceness: int = Field(default=5, ge=0, le=19)
    """How much the passages' thread yields to everything else on the machine, queries above all (Linux only)."""
    embedding_query_queue: int = Field(default=256, ge=256, le=100_000)
    """Queries that may wait; one more is refused with RESOURCE_EXHAUSTED."""
    embedding_passage_queue: int = Field(default=2048, ge=256, le=100_000)
    """Passages that may wait; one more is refused with RESOURCE_EXHAUSTED."""
    embedding_concurrency: int = Field(default=4, ge=1, le=64)
    """Slices embedded at once by this process."""

    chunk_seconds: float = Field(default=30, ge=5, le=120)
    """Length of a chunk aimed at."""
    chunk_max_seconds: float = Field(default=45, ge=10, le=180)
    """Length of a chunk that is never passed, but for a single longer word."""
