"""Settings of the gateway."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from services.common.settings import CommonSettings

_NAMED_TARGET = re.compile(r"s(\d+)r(\d+)=(\S+)")
_ORIGIN = re.compile(r"https?://[^/\s?#]+")


class Settings(CommonSettings):
    """Read from `EARMARK_…`."""

    http_host: str = "127.0.0.1"
    """Address the HTTP server listens on. Any but a loopback address needs `access`."""
    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the HTTP server; 0 takes a free one."""
    grpc_port: int = Field(default=50050, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    tls_serve: bool = False
    """With `tls_dir`: whether the gRPC server asks for certificates of the mesh. Its callers are outside of it: TLS to
    them ends in front of the gateway, as for HTTP."""
    access: Literal["open", "keys", "proxy"] = Field(default="open", validate_default=True)
    """Who may call: `open` is everybody, on loopback addresses only; `keys` is who has an API key; `proxy` is everybody
    who gets here, because something in front asks who it is and lets nobody else through."""
    admin_key: SecretStr | None = Field(default=None, min_length=32)
    """With `keys`: a key that may do everything, to make the first ones with. In no database; best in a secret file."""
    url_secret: SecretStr | None = Field(default=None, min_length=32)
    """With `keys`: what URLs of media, captions and event streams are signed with. Unset, each process makes its own,
    and URLs end with it: several gateways need the same one."""
    url_secret_previous: SecretStr | None = Field(default=None, min_length=32)
    """The one before: URLs signed with it are good until they expire."""
    url_seconds: float = Field(default=6 * 3600, ge=60, le=7 * 86_400)
    """For how long a signed URL is good, at least; at most half as long again."""
    key_cache_seconds: float = Field(default=5, ge=0, le=300)
    """Time until a gateway looks a key up again, and so until it knows of a revocation."""
    key_requests_per_second: float = Field(default=100, gt=0, le=100_000)
    """Requests that a key which says nothing of its own may make in the long run, at each gateway."""
    cors_origins: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Origins whose pages may call the API, comma-separated (`https://app.example.org`). With `keys` also `*`."""
    max_body_bytes: int = Field(default=2**20, ge=1024, le=2**30)
    """Size limit of a request whose body is neither media nor a transcript."""
    embedder_target: str = "127.0.0.1:50052"
    """Where the embedders are: `host:port`, several addresses comma-separated, or `dns:///name:port`. Of a name all
    addresses are asked, each over a connection of its own, and looked up again every second."""
    shard_targets: Annotated[list[list[str]], NoDecode] = Field(default_factory=list)
    """Where the index is, if not where its indexers say: a list with, for each shard, the list of its replicas, as JSON
    (`[["a:1","b:1"],["c:1"]]`) or named (`s0r0=a:1,s0r1=b:1,s1r0=c:1`)."""
    kubernetes_namespace: str = ""
    """Namespace in which the cluster says where indexers and embedders are (their EndpointSlices are watched) and which
    gateway leads (a Lease). Empty: outside of Kubernetes."""
    kubernetes_api: str = ""
    """URL of the cluster's API, such as that of a `kubectl proxy`; left out, what the pod's service account says."""
    indexer_service: str = "indexer"
    """With a namespace: the Service of the indexers; its port is named `grpc`."""
    embedder_service: str = "embedder"
    """With a namespace: the Service of the embedders; its port is named `grpc`."""
    lease_name: str = "earmark-gateway"
    """With a namespace: the Lease that says which gateway sweeps."""
    lease_seconds: int = Field(default=15, ge=3, le=600)
    """Time after which another gateway leads when the leader is heard of no more. The leader itself stops after two
    thirds of it."""
    routing_every_seconds: float = Field(default=1.0, gt=0, le=60)
    """Time between two looks at which indexers there are, and at which shard answers for which slot."""
    health_every_seconds: float = Field(default=0.5, gt=0, le=60)
    """Time between two looks at how each replica of a shard is."""
    search_deadline_seconds: float = Field(default=3.0, gt=0, le=60)
    """Time a search may take; a shard that has not answered by then is reported missing."""
    search_cache_mib: int = Field(default=64, ge=0, le=65_536)
    """Memory for query vectors and answers that are kept; 0 keeps none. Answers are given again only where every
    replica they are made of says at that moment that nothing has changed."""
    search_cache_url: SecretStr | None = None
    """Redis that several gateways keep them in together, `redis://[user:password@]host:port/0` (extra `redis`)."""
    query_statistics: bool = True
    """Whether each gateway counts, in memory, what people ask and what finds nothing, for administrators to see."""
    search_query_max_chars: int = Field(default=1000, ge=1, le=8000)
    """Length limit of a query, in characters."""
    search_semantic_floor: float = Field(default=0.22, ge=-1, le=1)
    """Dense score (mean of the cosines of a chunk and its best sentence) below which a chunk does not count as found
    by meaning. Depends on the embedding model: with MiniLM 99 % of real questions find something above 0.25."""
    search_semantic_floor_alone: float = Field(default=0.30, ge=-1, le=1)
    """The same, where no word of the query is said anywhere: then the query is likely to be gibberish, whose nearest
    chunk lies at 0.13 to 0.28, while 95 % of real questions find something above 0.41."""
    search_depth: int = Field(default=50, ge=1, le=1000)
    """Chunks of each leg, over all shards, that a first page is made of."""
    search_max_lag_events: int = Field(default=1000, ge=0)
    """Events a replica may be behind; one that is further back is asked only when the shard has no other."""
    search_more_per_video: int = Field(default=4, ge=0, le=50)
    """Further moments given of each video found."""
    search_concurrency: int = Field(default=256, ge=1, le=10_000)
    """Searches under way at once; one more is refused."""
    max_upload_bytes: int = Field(default=8 * 2**30, ge=1)
    """Size limit of one upload, in bytes."""
    upload_concurrency: int = Field(default=16, ge=1, le=1000)
    """Uploads under way at once; one more is refused."""
    upload_idle_seconds: float = Field(default=60, gt=0, le=3600)
    """Time without a byte after which an upload is given up."""
    delete_undo_seconds: float = Field(default=60, ge=0, le=30 * 86_400)
    """For how long a deleted video is only hidden, and can be brought back; with 0 it is gone at once."""
    upload_lifetime_seconds: float = Field(default=86_400, ge=60, le=30 * 86_400)
    """Time without a request after which a resumable upload is given up, and its bytes are removed."""
    upload_url_seconds: float = Field(default=3600, ge=60, le=7 * 86_400)
    """For how long the URL of a part that goes straight to S3 is good."""
    s3_public_endpoint: str = ""
    """URL by which clients reach S3, where it is another than the gateway's own (AWS_ENDPOINT_URL)."""
    idempotency_seconds: float = Field(default=86_400, ge=60, le=30 * 86_400)
    """For how long an Idempotency-Key is remembered."""
    import_max_bytes: int = Field(default=64 * 2**20, ge=1024, le=2**30)
    """Size limit of one imported transcript, in bytes. By gRPC it is 16 MiB at most."""
    import_max_segments: int = Field(default=100_000, ge=1, le=1_000_000)
    """Segments of one imported transcript."""
    import_concurrency: int = Field(default=32, ge=1, le=1000)
    """Imports under way at once; one more is refused."""
    import_slice_seconds: float = Field(default=300, ge=10, le=1800)
    """Length of slice aimed at: what is embedded and tried again at once."""
    allow_private_urls: bool = False
    """Whether URLs may point at private and loopback addresses."""
    watch_poll_seconds: float = Field(default=2.0, gt=0, le=60)
    """Time after which a watched video is looked at even when no event came."""
    watch_concurrency: int = Field(default=1000, ge=1, le=100_000)
    """Watches under way at once; one more is refused."""
    sweep_every_seconds: float = Field(default=10, gt=0, le=3600)
    """Time between two looks for events that stayed owed and for stalled videos."""
    owed_after_seconds: float = Field(default=10, gt=0, le=3600)
    """Age from which an event counts as forgotten."""
    stalled_after_seconds: float = Field(default=120, gt=0, le=86_400)
    """Time without a change after which a video on its way is looked at."""

    rebalance_every_seconds: float = Field(default=0.5, gt=0, le=60)
    """Time between two looks at slots that are to move."""
    rebalance_in_flight: int = Field(default=16, ge=1, le=256)
    """Slots copied to other shards at once."""
    rebalance_grace_seconds: float = Field(default=5, ge=0, le=600)
    """Time for which the old owner of a slot keeps it: longer than any gateway takes to read the slot table again and
    to end the searches it has begun. What this one takes for that is the least."""

    @field_validator("access")
    @classmethod
    def _no_open_door(cls, value: str, info: ValidationInfo) -> str:
        hosts = {name: info.data.get(name, "") for name in ("http_host", "grpc_host")}
        for name, host in hosts.items():
            if value == "open" and not is_loopback(host):
                raise ValueError(
                    f"EARMARK_{name.upper()}={host} can be reached from elsewhere, and there everybody could search, "
                    "upload and delete. Set EARMARK_ACCESS=keys (with EARMARK_ADMIN_KEY, to make keys), or "
                    "EARMARK_ACCESS=proxy if something in front asks who it is, or listen on 127.0.0.1"
                )
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: list[str], info: ValidationInfo) -> list[str]:
        for origin in value:
            if origin == "*":
                if info.data.get("access") != "keys":
                    raise ValueError("'*' would let every page on the web call; it needs EARMARK_ACCESS=keys")
            elif not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, such as https://app.example.org")
        return value

    @field_validator("shard_targets", mode="before")
    @classmethod
    def _parse_targets(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return parse_named_targets(value)

    @field_validator("shard_targets")
    @classmethod
    def _no_empty_shard(cls, value: list[list[str]]) -> list[list[str]]:
        for shard, replicas in enumerate(value):
            if not replicas or not all(replicas):
                raise ValueError(f"shard {shard} has no replica, or one without a target")
        return value


def is_loopback(host: str) -> bool:
    """Says whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def parse_named_targets(text: str) -> list[list[str]]:
    """Reads `s0r0=host:port,s1r0=host:port`.

    Returns:
        For each shard the targets of its replicas, in order of their numbers.

    Raises:
        ValueError: It is of another form, or a shard or replica is missing or named twice.
    """
    named: dict[tuple[int, int], str] = {}
    for part in filter(None, re.split(r"[,\s]+", text)):
        match = _NAMED_TARGET.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not of the form s<shard>r<replica>=<host:port>")
        key = int(match[1]), int(match[2])
        if key in named:
            raise ValueError(f"s{key[0]}r{key[1]} is named twice")
        named[key] = match[3]
    shards = 1 + max((shard for shard, _ in named), default=-1)
    rows = [[named[key] for key in sorted(named) if key[0] == shard] for shard in range(shards)]
    for shard, row in enumerate(rows):
        if not row:
            raise ValueError(f"shard {shard} has no replica")
    return rows
