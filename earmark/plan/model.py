"""The formulae; docs/sizing.md derives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from earmark.plan.constants import Constants

GIB = 2.0**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of the mesh.

    Attributes:
        hours: Hours of video it holds.
        qps: Searches a second at the peak.
        new_hours_per_month: Hours that come in a month once the archive is in.
        backfill_days: Days in which the archive is to be taken in.
        gpu: Whether speech is recognized on GPUs.
        media: Whether the media are kept, and not the transcripts alone.
    """

    hours: float
    qps: float
    new_hours_per_month: float = 0.0
    backfill_days: float = 30.0
    gpu: bool = True
    media: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of pod, with what each of them takes.

    Attributes:
        name: Its workload.
        pods: How many, for good.
        cores: Cores of one.
        memory_gib: Memory of one.
        disk_gib: Volume of one.
        gpus: GPUs of one.
        why: What its number follows from.
    """

    name: str
    pods: int
    cores: float
    memory_gib: float
    disk_gib: float = 0.0
    gpus: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What it takes.

    Attributes:
        chunks: Chunks in the index.
        shards: Shards.
        replicas: Replicas of each.
        chunks_per_shard: Chunks of one shard.
        search_core_ms: Processor time of one search over all shards, gateway and embedder included.
        slowest_shard_ms: Processor time of one search at one shard.
        rebuild_hours: Time in which a replica without disk and snapshot fills itself from MongoDB.
        parts: The pods that run for good.
        object_gib: The object store.
        backfill_gpu_hours: GPU hours for taking the archive in; 0 where CPUs do it.
        backfill_core_hours: Core hours for the same.
        backfill_pods: Recognizers that take it in in the days there are.
        backfill_cost: What that costs, once.
        monthly: What a month costs, by kind.
        beyond_measured: What of this is further than was measured, for people.
    """

    chunks: float
    shards: int
    replicas: int
    chunks_per_shard: float
    search_core_ms: float
    slowest_shard_ms: float
    rebuild_hours: float
    parts: Sequence[Part]
    object_gib: float
    backfill_gpu_hours: float
    backfill_core_hours: float
    backfill_pods: int
    backfill_cost: float
    monthly: dict[str, float]
    beyond_measured: Sequence[str]

    @property
    def monthly_total(self) -> float:
        """What a month costs."""
        return sum(self.monthly.values())

    def total(self, what: str) -> float:
        """Sum of an attribute of all pods, `cores`, `memory_gib`, `disk_gib` or `gpus`."""
        return float(sum(part.pods * getattr(part, what) for part in self.parts))


def plan(demand: Demand, constants: Constants) -> Plan:
    """Reckons what a mesh for `demand` takes."""
    c, use = constants, constants.load.utilization
    chunks = demand.hours * c.speech.chunks_per_hour
    shards = max(1, min(int(c.index.most_shards), math.ceil(chunks / c.index.target_chunks_per_shard)))
    per_shard = chunks / shards

    shard_ms = search_ms(per_shard, c.index.search_core_ms)
    shard_cores = demand.qps * shard_ms / 1000 / use
    replicas = max(int(c.index.replicas), math.ceil(shard_cores / c.index.pod_cores))
    gateway_ms = c.gateway.request_core_ms + shards * c.gateway.shard_core_ms
    ingest = _ingest(demand.new_hours_per_month / (c.prices.hours_per_month * 3600), demand, c)
    parts = [
        _gateway(demand.qps * gateway_ms / 1000 / use, c),
        Part(
            name="indexer",
            pods=shards * replicas,
            cores=min(c.index.pod_cores, max(1.0, round(shard_cores / replicas + 0.5, 1))),
            memory_gib=c.index.pod_base_gib
            + per_shard * (c.index.memory_bytes_per_chunk + c.index.mapped_bytes_per_chunk) / GIB,
            disk_gib=max(1.0, per_shard * c.index.disk_bytes_per_chunk * c.index.disk_headroom / GIB),
            why=f"{shards} x {replicas}: shards and replicas",
        ),
        _embedder(demand.qps * c.embedder.query_core_ms / 1000 / use, c),
        *ingest,
        *_servers(demand.hours, c),
    ]
    object_gib = demand.hours * (
        (c.speech.media_gib_per_hour + c.speech.slice_audio_mib_per_hour / 1024) * demand.media
        + c.speech.chunks_per_hour * c.index.disk_bytes_per_chunk / GIB  # the copy of each shard's snapshot
    )
    gpu_hours = demand.hours / c.recognizer.gpu_speed if demand.gpu else 0.0
    core_hours = demand.hours * _ingest_core_seconds(demand, c) / 3600
    speed = c.recognizer.gpu_speed if demand.gpu else c.recognizer.cpu_speed * c.recognizer.cpu_pod_cores
    return Plan(
        chunks=chunks,
        shards=shards,
        replicas=replicas,
        chunks_per_shard=per_shard,
        search_core_ms=shards * shard_ms + gateway_ms + c.embedder.query_core_ms,
        slowest_shard_ms=shard_ms,
        rebuild_hours=per_shard / c.index.rebuild_chunks_per_second / 3600,
        parts=parts,
        object_gib=object_gib,
        backfill_gpu_hours=gpu_hours,
        backfill_core_hours=core_hours,
        backfill_pods=math.ceil(demand.hours / (speed * demand.backfill_days * 24 * use)),
        backfill_cost=gpu_hours * c.prices.gpu_hour + core_hours * (c.prices.core_hour + c.prices.memory_gib_hour),
        monthly=_monthly(parts, object_gib, c),
        beyond_measured=_beyond(demand, per_shard, shards, c),
    )


def search_ms(chunks: float, points: Sequence[Sequence[float]]) -> float:
    """Gives the processor time of one search of a shard, in milliseconds, from measured (chunks, milliseconds).

    Linear in the logarithm between two points and beyond the last; below the first as at the first.
    """
    if chunks <= points[0][0]:
        return points[0][1]
    after = next((number for number in range(1, len(points)) if chunks <= points[number][0]), len(points) - 1)
    (few, quick), (many, slow) = points[after - 1], points[after]
    return quick + (slow - quick) * math.log(chunks / few) / math.log(many / few)


def _gateway(cores: float, c: Constants) -> Part:
    pods = max(int(c.gateway.replicas), math.ceil(cores / c.gateway.pod_cores))
    return Part(
        name="gateway",
        pods=pods,
        cores=c.gateway.pod_cores,
        memory_gib=c.gateway.pod_gib,
        why=f"{cores:.1f} cores at the peak; the sum over the shards is made here",
    )


def _embedder(query_cores: float, c: Constants) -> Part:
    return Part(
        name="embedder",
        pods=max(2, math.ceil(query_cores / c.embedder.pod_cores)),
        cores=c.embedder.pod_cores,
        memory_gib=c.embedder.pod_gib,
        why=f"{query_cores:.1f} cores of queries",
    )


def _ingest_core_seconds(demand: Demand, c: Constants) -> float:
    """Core seconds that an hour of video takes, recognizing included where CPUs do it."""
    recognizing = 0.0 if demand.gpu else 3600 / c.recognizer.cpu_speed
    embedding = c.speech.chunks_per_hour * c.embedder.chunk_core_ms / 1000
    return recognizing + c.recognizer.slicer_core_seconds_per_hour + embedding


def _ingest(hours_per_second: float, demand: Demand, c: Constants) -> list[Part]:
    """The transcriber for what comes in month by month; at least one of each, since nobody knows when it comes."""
    use = c.load.utilization
    audio_per_second = hours_per_second * 3600 / use
    slicing = hours_per_second * c.recognizer.slicer_core_seconds_per_hour / use
    speed = c.recognizer.gpu_speed if demand.gpu else c.recognizer.cpu_speed * c.recognizer.cpu_pod_cores
    return [
        Part(
            name="slicer", pods=max(1, math.ceil(slicing / 2)), cores=2.0, memory_gib=3.0, why="what comes in a month"
        ),
        Part(
            name="recognizer",
            pods=max(1, math.ceil(audio_per_second / speed)),
            cores=1.0 if demand.gpu else c.recognizer.cpu_pod_cores,
            memory_gib=4.0 if demand.gpu else c.recognizer.cpu_pod_gib,
            gpus=1 if demand.gpu else 0,
            why="what comes in a month",
        ),
    ]


def _servers(hours: float, c: Constants) -> list[Part]:
    documents = hours * c.speech.document_kib_per_hour / 2**20
    return [
        Part(
            name="nats",
            pods=int(c.servers.nats_replicas),
            cores=c.servers.nats_cores,
            memory_gib=c.servers.nats_gib,
            disk_gib=c.servers.nats_disk_gib,
            why="streams kept three times",
        ),
        Part(
            name="mongodb",
            pods=int(c.servers.mongodb_replicas),
            cores=c.servers.mongodb_cores,
            memory_gib=max(c.servers.mongodb_gib_least, documents * c.servers.mongodb_cache_share),
            disk_gib=max(10.0, documents * c.servers.mongodb_disk_headroom),
            why=f"{documents:,.1f} GiB of documents, kept three times",
        ),
    ]


def _monthly(parts: Sequence[Part], object_gib: float, c: Constants) -> dict[str, float]:
    hours, prices = c.prices.hours_per_month, c.prices
    return {
        "cores": sum(part.pods * part.cores for part in parts) * hours * prices.core_hour,
        "memory": sum(part.pods * part.memory_gib for part in parts) * hours * prices.memory_gib_hour,
        "GPUs": sum(part.pods * part.gpus for part in parts) * hours * prices.gpu_hour,
        "disks": sum(part.pods * part.disk_gib for part in parts) * prices.disk_gib_month,
        "objects": object_gib * prices.object_gib_month,
    }


def _beyond(demand: Demand, per_shard: float, shards: int, c: Constants) -> list[str]:
    most = c.index.search_core_ms[-1][0]
    said = []
    if per_shard > most:
        said.append(f"a shard of {per_shard:,.0f} chunks: measured up to {most:,.0f}, reckoned on from there")
    if shards > 64:
        said.append(f"{shards} shards: up to 8 were asked at once, and 64 lists merged")
    if shards >= c.index.most_shards:
        said.append(f"{shards} shards are the most there can be (slots); shards grow instead")
    if demand.gpu:
        said.append("the speed of a GPU is assumed")
    if demand.qps > 119:
        said.append("the load: the most that was measured of one process is 119 searches a second (1 M chunks)")
    return said
