"""Wires the embedder together."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack

from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
from services.common import mongo
from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer
from services.common.executor import BoundedExecutor
from services.common.migrations.schema import Schema
from services.common.objects import ObjectStore
from services.common.runner import Service
from services.common.videos.store import VideoStore
from services.embedder.batcher import Batcher
from services.embedder.consumer import SliceTranscribedHandler
from services.embedder.lane import Lane, LaneLimits
from services.embedder.loading import ModelLoader
from services.embedder.model import TextKind
from services.embedder.servicer import EmbedderServicer
from services.embedder.settings import Settings

QUERY_CHARACTERS = 1024
PASSAGE_CHARACTERS = 16 * 1024
PASSAGE_WINDOW = 64


async def build(settings: Settings, stack: AsyncExitStack) -> Service:
    """Connects and wires; the model is loaded by the lanes' tasks, and the service is ready when they have it."""
    batcher = make_batcher(settings)
    database = await mongo.connect(settings, stack)
    await Schema(database).check()
    bus = await EventBus.connect(settings, name="embedder")
    stack.push_async_callback(bus.close)
    chunking = BoundedExecutor("chunking", threads=1, queue=settings.embedding_concurrency)
    stack.callback(chunking.close)
    handler = SliceTranscribedHandler(
        videos=VideoStore(database, bus),
        objects=ObjectStore.open(settings.object_store_url),
        batcher=batcher,
        chunking=chunking,
        target_seconds=settings.chunk_seconds,
        max_seconds=settings.chunk_max_seconds,
    )
    return Service(
        bus=bus,
        servicers=[
            (
                pb_grpc.add_EmbedderServiceServicer_to_server,
                EmbedderServicer(batcher=batcher),
                "earmark.internal.v1.EmbedderService",
            )
        ],
        consumers=[Consumer(bus, "embedder", handler, concurrency=settings.embedding_concurrency)],
        tasks=batcher.tasks,
        readiness={"model": batcher.is_ready},
    )


def make_batcher(settings: Settings) -> Batcher:
    """Makes the two lanes, each with its own instance of the model."""
    loader = ModelLoader(settings.embedding_model, settings.embedding_cache_dir, device=settings.embedding_device)
    queries = Lane(
        TextKind.QUERY,
        prepare=loader.prepare,
        load=functools.partial(loader.load, threads=settings.embedding_query_threads),
        limits=LaneLimits(queue=settings.embedding_query_queue, window=8, batch_characters=QUERY_CHARACTERS),
    )
    passages = Lane(
        TextKind.PASSAGE,
        prepare=loader.prepare,
        load=functools.partial(loader.load, threads=settings.embedding_passage_threads),
        limits=LaneLimits(
            queue=settings.embedding_passage_queue,
            window=PASSAGE_WINDOW,
            batch_characters=PASSAGE_CHARACTERS,
            niceness=settings.embedding_passage_niceness,
        ),
    )
    return Batcher(queries=queries, passages=passages)
