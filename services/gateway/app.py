"""Puts the gateway together."""

from __future__ import annotations

import datetime as dt
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog
from ulid import ULID

from earmark.v1 import search_service_pb2_grpc, transcript_service_pb2_grpc, video_service_pb2_grpc
from services.common import mongo, urls
from services.common.api_keys import ApiKeys
from services.common.claims import Claims
from services.common.errors import FailedPrecondition
from services.common.events.advisories import advisories
from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer
from services.common.events.roll_call import call_roll
from services.common.health import Health
from services.common.migrations.schema import Schema
from services.common.objects import ObjectStore
from services.common.pending_uploads import PendingUploads
from services.common.registry import IndexerRegistry
from services.common.request_keys import RequestKeys
from services.common.runner import Service
from services.common.slot_goal import SlotGoals
from services.common.slots import SlotTables
from services.common.videos.store import VideoStore
from services.common.videos.sweeper import Sweeper
from services.gateway import addresses
from services.gateway.access.caller import caller
from services.gateway.access.gate import KeyGate, OpenGate
from services.gateway.access.keys import Keys
from services.gateway.access.quota import Quota
from services.gateway.access.signing import Signer
from services.gateway.address_directory import AddressDirectory
from services.gateway.addresses import Addresses
from services.gateway.cache.answers import CachedSearch
from services.gateway.cache.embeddings import CachedEmbedder
from services.gateway.cache.store import CacheStore, MemoryStore
from services.gateway.clients import STATE_SECONDS, GrpcEmbedder, GrpcShard, watch_replicas
from services.gateway.consumer import Cleaner, Undertaker
from services.gateway.directory import RegistryDirectory, ShardDirectory, StaticDirectory
from services.gateway.edits import Edits
from services.gateway.embedders import Embedders
from services.gateway.fanout import Fanout
from services.gateway.http import api
from services.gateway.http.health import Check, State
from services.gateway.http.server import HttpServer
from services.gateway.idempotency import Idempotency
from services.gateway.imports import Imports
from services.gateway.kube.api import KubeApi
from services.gateway.kube.endpoints import EndpointSliceAddresses
from services.gateway.kube.lease import LeaseLeadership, Timing
from services.gateway.leadership import EveryoneLeads, Leadership
from services.gateway.library import Library
from services.gateway.operations.overview import Operations
from services.gateway.peers import GrpcPeers, Registry
from services.gateway.pictures import Pictures
from services.gateway.presigned import Presigned
from services.gateway.rebalance import Rebalancer
from services.gateway.resumable import Resumable
from services.gateway.routing import Routes, keep_up
from services.gateway.rpc_access import RpcAccess
from services.gateway.search import Searcher
from services.gateway.servicer import SearchServicer, VideoServicer
from services.gateway.settings import Settings
from services.gateway.shards import Shards
from services.gateway.storing.open import open_parts
from services.gateway.time_left import TimeLeft
from services.gateway.transcript_servicer import TranscriptServicer
from services.gateway.uploads import Uploads
from services.gateway.visible import VisibleVideos
from services.gateway.watch import Watcher

log = structlog.get_logger()

_CLEANERS = 4
_CACHED_VECTORS = 20_000
_CACHED_ANSWERS = 10_000


async def build(settings: Settings, stack: AsyncExitStack) -> Service:
    """Connects to what the gateway needs and gives everything that runs."""
    database = await mongo.connect(settings, stack)
    await Schema(database).migrate()
    bus = await EventBus.connect(settings, name="gateway")
    stack.push_async_callback(bus.close)
    objects = ObjectStore.open(settings.object_store_url)
    videos = VideoStore(database, bus)
    stored_keys = ApiKeys(database)
    gate = await _gate(settings, stored_keys)
    keys = Keys(store=stored_keys, forget=gate.forget if isinstance(gate, KeyGate) else lambda _: None)
    quota = Quota(usage=stored_keys)
    claims = Claims(database)
    visible = VisibleVideos(store=videos, quota=quota, claims=claims)

    kube = _kube(settings, stack)
    embedder_addresses = _embedder_addresses(settings, kube)
    embedder = Embedders(
        embedder_addresses,
        connect=GrpcEmbedder.connect,
        target=settings.embedder_service if kube else settings.embedder_target,
        linger_seconds=settings.search_deadline_seconds,
    )
    stack.push_async_callback(embedder.close)
    vectors, answers = _caches(settings, stack)
    cached_embedder = CachedEmbedder(embedder, vectors)
    registry, tables, goals = IndexerRegistry(database), SlotTables(database), SlotGoals(database)
    routes = Routes(tables.load)
    index = await _index(settings, kube, registry)
    stack.push_async_callback(index.directory.close)
    refreshes = [routes.refresh, *index.refreshes]
    for refresh in refreshes:
        await refresh()

    peers = GrpcPeers(index.registry)
    stack.push_async_callback(peers.close)
    operations = Operations(
        peers=peers,
        queues=bus.queues,
        roll=lambda seconds: call_roll(bus, seconds=seconds),
        videos=videos,
        caches=lambda: {"embeddings": cached_embedder.counts.shown(), "answers": searcher.counts.shown()},
        keep_queries=settings.query_statistics,
    )
    fanout = Fanout(directory=index.directory, routes=routes)
    uncached = Searcher(
        embedder=cached_embedder,
        fanout=fanout,
        deadline_seconds=settings.search_deadline_seconds,
        semantic_floor=settings.search_semantic_floor,
        semantic_floor_alone=settings.search_semantic_floor_alone,
        depth=settings.search_depth,
        more_per_video=settings.search_more_per_video,
        concurrency=settings.search_concurrency,
        searched=operations.searched,
    )
    searcher = CachedSearch(
        search=uncached,
        checker=fanout,
        store=answers,
        embedder=cached_embedder,
        deadline_seconds=settings.search_deadline_seconds,
        made_by=_made_by(settings),
        searched=operations.searched,
    )
    library = Library(videos=visible, objects=objects, undo_seconds=settings.delete_undo_seconds)
    stack.callback(library.close)
    intake = await _intake(
        settings,
        database=database,
        objects=objects,
        videos=videos,
        visible=visible,
        quota=quota,
        claims=claims,
        stack=stack,
    )
    imports = Imports(
        objects=objects,
        videos=visible,
        slice_seconds=settings.import_slice_seconds,
        max_bytes=settings.import_max_bytes,
        max_segments=settings.import_max_segments,
        concurrency=settings.import_concurrency,
        idle_seconds=settings.upload_idle_seconds,
    )
    stack.callback(imports.close)
    edits = Edits(
        objects=objects,
        videos=visible,
        slice_seconds=settings.import_slice_seconds,
        max_bytes=settings.import_max_bytes,
        max_segments=settings.import_max_segments,
        concurrency=settings.import_concurrency,
        idle_seconds=settings.upload_idle_seconds,
    )
    stack.callback(edits.close)
    serving: list[Health] = []

    def stopping() -> bool:
        return any(health.stopping for health in serving)

    watcher = Watcher(
        videos=visible,
        feed=bus,
        poll_seconds=settings.watch_poll_seconds,
        concurrency=settings.watch_concurrency,
        stopping=stopping,
    )
    sweeper = Sweeper(
        videos,
        bus,
        every_seconds=settings.sweep_every_seconds,
        owed_seconds=settings.owed_after_seconds,
        stalled_seconds=settings.stalled_after_seconds,
        chores=[intake.resumable.sweep],
    )

    rebalancer = Rebalancer(
        tables=tables,
        goals=goals,
        peers=peers,
        stream=bus,
        in_flight=settings.rebalance_in_flight,
        # Whatever is set: a search that has just begun with the table of before is still to be answered.
        grace_seconds=max(
            settings.rebalance_grace_seconds, settings.routing_every_seconds + settings.search_deadline_seconds
        ),
        every_seconds=settings.rebalance_every_seconds,
    )

    app = api.create(
        library=library,
        pictures=Pictures(library=library, videos=visible, objects=objects),
        uploads=intake.uploads,
        resumable=intake.resumable,
        presigned=intake.presigned,
        imports=imports,
        edits=edits,
        watcher=watcher,
        time_left=TimeLeft(videos=videos),
        searcher=searcher,
        keys=keys,
        gate=gate,
        local=settings.access == "open",
        cors_origins=settings.cors_origins,
        max_body_bytes=settings.max_body_bytes,
        shards=Shards(tables=tables, goals=goals, peers=peers, stream=bus, driver=rebalancer),
        operations=operations,
        query_max_chars=settings.search_query_max_chars,
        checks=_checks(database, bus, embedder, index.directory, routes),
        stopping=stopping,
    )
    http = HttpServer(app, host=settings.http_host, port=settings.http_port)

    def on_serving(grpc_port: int, health: Health) -> None:
        serving.append(health)
        log.info("gateway_listens", http_host=settings.http_host, http_port=http.port, grpc_port=grpc_port)

    return Service(
        servicers=[
            (
                video_service_pb2_grpc.add_VideoServiceServicer_to_server,
                VideoServicer(library=library, uploads=intake.uploads, imports=imports, watcher=watcher),
                "earmark.v1.VideoService",
            ),
            (
                transcript_service_pb2_grpc.add_TranscriptServiceServicer_to_server,
                TranscriptServicer(library=library, edits=edits),
                "earmark.v1.TranscriptService",
            ),
            (
                search_service_pb2_grpc.add_SearchServiceServicer_to_server,
                SearchServicer(
                    searcher=searcher,
                    query_max_chars=settings.search_query_max_chars,
                    deadline_seconds=settings.search_deadline_seconds,
                ),
                "earmark.v1.SearchService",
            ),
        ],
        consumers=[
            Consumer(bus, "cleaner", Cleaner(videos=videos, objects=objects).handle, concurrency=_CLEANERS),
            Consumer(bus, "undertaker", Undertaker(videos=videos).handle),
            advisories(bus),
        ],
        tasks={
            "http": http.run,
            "maintenance": lambda: _leadership(settings, kube).lead(sweeper.run),
            "rebalancer": rebalancer.run,
            "routing": lambda: keep_up(refreshes, every_seconds=settings.routing_every_seconds),
            "embedders": lambda: embedder.run(every_seconds=settings.health_every_seconds),
            "embedder-addresses": embedder_addresses.run,
            **index.tasks,
        },
        # Not the shards: a gateway without one still answers, and says what is missing.
        readiness={"mongo": lambda: mongo.answers(database), "nats": _connected(bus)},
        interceptors=[RpcAccess(gate)],
        on_stop=[http.stop],
        on_serving=on_serving,
        bus=bus,
    )


def _caches(settings: Settings, stack: AsyncExitStack) -> tuple[CacheStore, CacheStore]:
    """Gives where query vectors, and answers, are kept: a fifth of the room for vectors, which are small.

    Raises:
        FailedPrecondition: They are to be kept in Redis, and its client is not installed.
    """
    stores: tuple[CacheStore, CacheStore]
    if settings.search_cache_url is not None:
        try:
            from services.gateway.cache.redis_store import RedisStore
        except ModuleNotFoundError as error:
            raise FailedPrecondition(
                "EARMARK_SEARCH_CACHE_URL is set, and the client of Redis is not installed; install earmark[redis]",
                reason="REDIS_NOT_INSTALLED",
            ) from error
        url = settings.search_cache_url.get_secret_value()
        stores = RedisStore(url), RedisStore(url)
    else:
        room = settings.search_cache_mib * 2**20
        stores = (
            MemoryStore(max_bytes=room // 5, max_entries=_CACHED_VECTORS),
            MemoryStore(max_bytes=room - room // 5, max_entries=_CACHED_ANSWERS),
        )
    for store in stores:
        stack.push_async_callback(store.close)
    return stores


def _made_by(settings: Settings) -> str:
    """Says what answers depend on beside query and index: gateways that differ in it share none."""
    ranking = (
        settings.search_semantic_floor,
        settings.search_semantic_floor_alone,
        settings.search_depth,
        settings.search_more_per_video,
    )
    return f"{api.app_version()} {ranking}"


@dataclass(frozen=True, kw_only=True)
class _Index:
    """How the index is reached.

    Attributes:
        directory: Whom to search.
        registry: Who there is, for operators.
        refreshes: What is to be read again and again.
        tasks: What keeps it up to date.
    """

    directory: StaticDirectory | RegistryDirectory | AddressDirectory
    registry: Registry
    refreshes: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    tasks: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)


async def _index(settings: Settings, kube: KubeApi | None, registry: IndexerRegistry) -> _Index:
    """Finds the indexers: in a list, else by what the cluster says, else by what they say of themselves."""
    lag, linger = settings.search_max_lag_events, max(settings.search_deadline_seconds, 2 * STATE_SECONDS)
    every = settings.health_every_seconds
    if kube is not None and not settings.shard_targets:
        places = EndpointSliceAddresses(kube, service=settings.indexer_service)
        places.assume([peer.target for peer in await registry.peers()])
        of_cluster = AddressDirectory(
            places, connect=GrpcShard.connect, linger_seconds=linger, max_lag_events=lag, look_seconds=STATE_SECONDS
        )
        return _Index(
            directory=of_cluster,
            registry=of_cluster,
            tasks={"indexer-addresses": places.run, "replicas": lambda: of_cluster.run(every_seconds=every)},
        )
    directory: StaticDirectory | RegistryDirectory
    refreshes: list[Callable[[], Awaitable[None]]] = []
    if settings.shard_targets:
        rows = [[GrpcShard.connect(target) for target in row] for row in settings.shard_targets]
        directory = StaticDirectory(rows, max_lag_events=lag)
    else:
        directory = RegistryDirectory(
            registry.peers, connect=GrpcShard.connect, linger_seconds=linger, max_lag_events=lag
        )
        refreshes.append(directory.refresh)
    return _Index(
        directory=directory,
        registry=registry,
        refreshes=refreshes,
        tasks={"replicas": lambda: watch_replicas(directory.all_replicas, every_seconds=every)},
    )


def _kube(settings: Settings, stack: AsyncExitStack) -> KubeApi | None:
    """Gives the cluster's API; None outside of Kubernetes."""
    if not settings.kubernetes_namespace:
        return None
    kube = KubeApi.connect(url=settings.kubernetes_api, namespace=settings.kubernetes_namespace)
    stack.push_async_callback(kube.close)
    return kube


def _embedder_addresses(settings: Settings, kube: KubeApi | None) -> Addresses:
    if kube is None:
        return addresses.of_target(settings.embedder_target)
    of_cluster = EndpointSliceAddresses(kube, service=settings.embedder_service)
    of_cluster.assume(settings.embedder_target.split(","))
    return of_cluster


def _leadership(settings: Settings, kube: KubeApi | None) -> Leadership:
    if kube is None:
        return EveryoneLeads()
    return LeaseLeadership(
        kube,
        name=settings.lease_name,
        identity=f"{socket.gethostname()}_{ULID()}",
        timing=Timing.of(settings.lease_seconds),
    )


class _Intake(NamedTuple):
    """The ways in for bytes."""

    uploads: Uploads
    resumable: Resumable
    presigned: Presigned


async def _intake(
    settings: Settings,
    *,
    database: mongo.Database,
    objects: ObjectStore,
    videos: VideoStore,
    visible: VisibleVideos,
    quota: Quota,
    claims: Claims,
    stack: AsyncExitStack,
) -> _Intake:
    request_keys, pending = RequestKeys(database), PendingUploads(database)
    idempotency = Idempotency(records=request_keys, claims=claims, seconds=settings.idempotency_seconds)
    uploads = Uploads(
        media=objects,
        videos=visible,
        check_url=partial(urls.check_reachable, allow_private=settings.allow_private_urls),
        max_bytes=settings.max_upload_bytes,
        concurrency=settings.upload_concurrency,
        idle_seconds=settings.upload_idle_seconds,
        slice_seconds=settings.import_slice_seconds,
        max_segments=settings.import_max_segments,
        before=lambda size: quota.look(caller(), size=size),
        idempotency=idempotency,
        leftovers=pending,
    )
    stack.callback(uploads.close)
    closing = stack.enter_context(ExitStack())
    parts, multipart = open_parts(
        objects,
        settings.object_store_url,
        public_endpoint=settings.s3_public_endpoint,
        max_bytes=settings.max_upload_bytes,
        concurrency=settings.upload_concurrency,
        stack=closing,
    )
    resumable = Resumable(
        pending=pending,
        parts=parts,
        objects=objects,
        videos=videos,
        uploads=uploads,
        max_bytes=settings.max_upload_bytes,
        idle_seconds=settings.upload_idle_seconds,
        lifetime_seconds=settings.upload_lifetime_seconds,
        idempotency=idempotency,
    )
    presigned = Presigned(
        resumable=resumable, uploads=uploads, multipart=multipart, url_seconds=settings.upload_url_seconds
    )
    return _Intake(uploads, resumable, presigned)


def _connected(bus: EventBus) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bus.connected

    return check


def _checks(
    database: mongo.Database, bus: EventBus, embedder: Embedders, directory: ShardDirectory, routes: Routes
) -> Callable[[], dict[str, Check]]:
    """What `/readyz` asks: the shards are those of the moment."""

    async def mongo_state() -> State:
        return State(ready=await mongo.answers(database))

    async def nats_state() -> State:
        return State(ready=bus.connected)

    async def embedder_state() -> State:
        known = f"{embedder.target}, {embedder.count} known" if embedder.count != 1 else embedder.target
        return State(ready=await embedder.ready(timeout=1.0), detail=known)

    def shard_state(shard: int) -> Check:
        async def check() -> State:
            replicas = directory.replicas(shard)
            ready = [replica for replica in replicas if replica.ready and not replica.ejected]
            return State(ready=bool(ready), detail=f"{len(ready)} of {len(replicas)} replicas")

        return check

    async def no_shards() -> State:
        return State(ready=False, detail="no indexer has made a slot table yet")

    def checks() -> dict[str, Check]:
        route = routes.current
        shards = {f"shard {asked.shard}": shard_state(asked.shard) for asked in route.shards} if route else {}
        return {
            "mongo": mongo_state,
            "nats": nats_state,
            "embedder": embedder_state,
            **(shards or {"index": no_shards}),
        }

    return checks


async def _gate(settings: Settings, keys: ApiKeys) -> OpenGate | KeyGate:
    """Makes what says who calls.

    Raises:
        FailedPrecondition: It takes keys, and nobody has one to make others with.
    """
    if settings.access != "keys":
        return OpenGate()
    admin = settings.admin_key.get_secret_value() if settings.admin_key else None
    if admin is None and not await keys.any_admin(dt.datetime.now(dt.UTC)):
        raise FailedPrecondition(
            "EARMARK_ACCESS=keys, and there is no key to make others with; set EARMARK_ADMIN_KEY to 32 random "
            "characters or more (openssl rand -hex 32), or make an admin key on loopback first (earmark keys create)",
            reason="NO_ADMIN_KEY",
        )
    given = [secret.get_secret_value() for secret in (settings.url_secret, settings.url_secret_previous) if secret]
    if settings.url_secret is None:
        log.warning(
            "url_secret_made_up",
            message="signed URLs end with this process, and other gateways refuse them; set EARMARK_URL_SECRET",
        )
        given.insert(0, secrets.token_hex(32))
    return KeyGate(
        keys=keys,
        signer=Signer(given, seconds=settings.url_seconds),
        admin_key=admin,
        cache_seconds=settings.key_cache_seconds,
        requests_per_second=settings.key_requests_per_second,
    )
