"""Settings that every service has. Each service adds its own in its `settings.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS = Path("/run/secrets")


class CommonSettings(BaseSettings):
    """Read from the environment (`EARMARK_…`), else from files in `secrets_dir` (`earmark_…`), else the defaults."""

    model_config = SettingsConfigDict(
        env_prefix="EARMARK_", extra="ignore", use_attribute_docstrings=True, env_ignore_empty=True
    )

    secrets_dir: Path = SECRETS
    """Folder of files that are settings, `earmark_mongo_url` for `mongo_url`: how Docker and Kubernetes mount secrets.
    Only the environment says where it is."""
    nats_url: str = "nats://127.0.0.1:4222"
    """URL of NATS; several, comma-separated, for a cluster."""
    nats_token: SecretStr | None = None
    """Token for NATS, where it asks for one."""
    nats_replicas: int = Field(default=1, ge=1, le=5)
    """Copies JetStream keeps of each stream; 3 in a cluster."""
    mongo_url: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?directConnection=true")
    """URL of MongoDB; secret, since it can carry a password."""
    mongo_database: str = "earmark"
    """Name of the database."""
    object_store_url: str = "file:///var/lib/earmark/objects"
    """Where media and transcripts are kept: `file:///folder` or `s3://bucket/prefix`
    (S3 credentials and endpoint come from the usual `AWS_…` environment)."""
    grpc_host: str = "127.0.0.1"
    """Address the gRPC server listens on."""
    grpc_port: int = Field(default=0, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    grpc_reflection: bool = False
    """Whether the gRPC server describes itself (for grpcurl)."""
    grpc_max_concurrent_rpcs: int = Field(default=256, ge=1, le=100_000)
    """Calls served at once; one more is refused with RESOURCE_EXHAUSTED."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """Port of a second gRPC server that answers health alone, without TLS, for probes that speak none; 0 is none."""
    tls_dir: Path | None = None
    """Folder with `tls.crt`, `tls.key` and `ca.crt`: calls between services then go in TLS, both sides showing a
    certificate of that authority, and NATS is spoken to in TLS. Renewed files are read again. MongoDB's TLS is in its
    URL."""
    tls_serve: bool = True
    """With `tls_dir`: whether the own gRPC server speaks TLS too, and not calls to others alone."""
    metrics_host: str = "127.0.0.1"
    """Address `/metrics` listens on."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of `/metrics`; 0 means none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""
    otlp_endpoint: str | None = None
    """Where traces go (OTLP over gRPC); none are recorded when unset."""
    drain_seconds: float = Field(default=0.5, ge=0, le=120)
    """Time between saying NOT_SERVING and refusing calls, so that callers notice."""
    shutdown_grace_seconds: float = Field(default=20, ge=0, le=600)
    """Time that work under way has to end after SIGTERM."""


S = TypeVar("S", bound=CommonSettings)


def read(settings_class: type[S]) -> S:
    """Reads the settings of this process. Raises pydantic's ValidationError."""
    secrets = Path(os.environ.get("EARMARK_SECRETS_DIR") or SECRETS)
    return settings_class(_secrets_dir=secrets) if secrets.is_dir() else settings_class()
