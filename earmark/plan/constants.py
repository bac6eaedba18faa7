"""The constants a plan is made of, out of one TOML file; each stands there with where it comes from."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

PACKAGED = Path(__file__).with_name("constants.toml")


class ConstantsInvalid(Exception):
    """A file of constants lacks one, has one too many, or one that is no number above 0; the message says which."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What an hour of video holds."""

    chunks_per_hour: float
    sentences_per_chunk: float
    text_bytes_per_chunk: float
    document_kib_per_hour: float
    slice_audio_mib_per_hour: float
    media_gib_per_hour: float


@dataclass(frozen=True, slots=True)
class Recognizer:
    """Speeds are seconds of audio for each second of a core or a GPU."""

    cpu_speed: float
    cpu_pod_cores: float
    cpu_pod_gib: float
    gpu_speed: float
    slicer_core_seconds_per_hour: float


@dataclass(frozen=True, slots=True)
class Embedder:
    """Milliseconds of one core."""

    chunk_core_ms: float
    query_core_ms: float
    pod_cores: float
    pod_gib: float


@dataclass(frozen=True, slots=True)
class Index:
    """Of one replica of one shard. `search_core_ms` are (chunks, milliseconds of a core), by chunks."""

    search_core_ms: list[list[float]]
    memory_bytes_per_chunk: float
    mapped_bytes_per_chunk: float
    disk_bytes_per_chunk: float
    disk_headroom: float
    pod_base_gib: float
    target_chunks_per_shard: float
    most_shards: float
    rebuild_chunks_per_second: float
    replicas: float
    pod_cores: float


@dataclass(frozen=True, slots=True)
class Gateway:
    """Milliseconds of one core for each search."""

    request_core_ms: float
    shard_core_ms: float
    pod_cores: float
    pod_gib: float
    replicas: float


@dataclass(frozen=True, slots=True)
class Servers:
    """NATS and MongoDB."""

    nats_replicas: float
    nats_cores: float
    nats_gib: float
    nats_disk_gib: float
    mongodb_replicas: float
    mongodb_cores: float
    mongodb_gib_least: float
    mongodb_cache_share: float
    mongodb_disk_headroom: float


@dataclass(frozen=True, slots=True)
class Load:
    """How much of what there is may be used."""

    utilization: float


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars."""

    core_hour: float
    memory_gib_hour: float
    gpu_hour: float
    disk_gib_month: float
    object_gib_month: float
    hours_per_month: float


@dataclass(frozen=True, slots=True)
class Constants:
    """All of them."""

    speech: Speech
    recognizer: Recognizer
    embedder: Embedder
    index: Index
    gateway: Gateway
    servers: Servers
    load: Load
    prices: Prices

    @classmethod
    def read(cls, path: Path = PACKAGED) -> Self:
        """Reads a file.

        Raises:
            ConstantsInvalid: It is not as the packaged one.
            OSError: It cannot be read.
        """
        try:
            tables = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConstantsInvalid(f"{path} is no TOML: {error}") from error
        sections = get_type_hints(cls)
        _same(f"{path}", set(tables), set(sections))
        return cls(**{name: _section(path, name, kind, tables[name]) for name, kind in sections.items()})


def _section(path: Path, name: str, kind: type[Any], table: Any) -> Any:
    where = f"{path} [{name}]"
    if not isinstance(table, dict):
        raise ConstantsInvalid(f"{where} is no table")
    _same(where, set(table), {field.name for field in dataclasses.fields(kind)})
    for key, value in table.items():
        if key == "search_core_ms":
            _check_curve(where, value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConstantsInvalid(f"{where} {key} is {value!r}; it must be a number above 0")
    return kind(**table)


def _check_curve(where: str, points: Any) -> None:
    good = isinstance(points, list) and len(points) >= 2
    good = good and all(isinstance(point, list) and len(point) == 2 for point in points)
    good = good and all(isinstance(value, int | float) and value > 0 for point in points for value in point)
    if not good or [point[0] for point in points] != sorted({point[0] for point in points}):
        raise ConstantsInvalid(f"{where} search_core_ms must be two or more [chunks, milliseconds], by chunks")


def _same(where: str, given: set[str], wanted: set[str]) -> None:
    if missing := sorted(wanted - given):
        raise ConstantsInvalid(f"{where} lacks {', '.join(missing)}; copy {PACKAGED} and change that")
    if unknown := sorted(given - wanted):
        raise ConstantsInvalid(f"{where} has {', '.join(unknown)}, which nothing reckons with")
