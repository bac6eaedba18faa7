"""Puts the transcriber together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict

import structlog

from earmark.internal.v1.transcriber_service_pb2_grpc import add_TranscriberServiceServicer_to_server
from services.common import mongo
from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer
from services.common.migrations.schema import Schema
from services.common.objects import ObjectStore
from services.common.runner import Service
from services.common.videos.store import VideoStore
from services.transcriber.child_process import sweep_folders
from services.transcriber.consumer import RecognizerHandler, SlicerHandler
from services.transcriber.fetcher import Fetcher, FetchLimits
from services.transcriber.machine import available_cores
from services.transcriber.preparer import Illustrator, PreparingLimits, Renderer
from services.transcriber.servicer import TranscriberServicer
from services.transcriber.settings import Settings
from services.transcriber.slicer import Slicer, SlicingLimits
from services.transcriber.transcription import Transcription
from services.transcriber.turns import Turns
from services.transcriber.whisper import WhisperOptions
from services.transcriber.worker import WorkerSpec
from services.transcriber.worker_pool import PoolLimits, WorkerPool

log = structlog.get_logger()

_MIB = 2**20
_MOST_LANES = 4
"""A slice of five minutes has ten to twelve windows, and three batches of them to decode."""


async def build(settings: Settings, stack: AsyncExitStack) -> Service:
    """Connects and wires the roles asked for."""
    objects = ObjectStore.open(settings.object_store_url)
    database = await mongo.connect(settings, stack)
    await Schema(database).check()
    bus = await EventBus.connect(settings, name="transcriber")
    stack.push_async_callback(bus.close)
    videos = VideoStore(database, bus)
    slicer = make_slicer(settings)
    fetcher = make_fetcher(settings, objects)
    service = Service(servicers=[], bus=bus)

    async def connected() -> bool:
        return bus.connected

    service.readiness["bus"] = connected
    if "slicer" in settings.transcriber_roles:
        handler = SlicerHandler(
            videos=videos,
            objects=objects,
            slicer=slicer,
            fetcher=fetcher,
            turns=Turns(settings.slicer_concurrency),
            max_attempts=settings.slicer_max_attempts,
            fetch_attempts=settings.fetch_max_attempts,
        )
        service.consumers.append(Consumer(bus, "slicer", handler, concurrency=settings.slicer_open_videos))
    if "recognizer" in settings.transcriber_roles:
        pool = make_pool(settings)
        transcription = Transcription(objects=objects, slicer=slicer, fetcher=fetcher, pool=pool)
        service.servicers.append(
            (
                add_TranscriberServiceServicer_to_server,
                TranscriberServicer(transcription),
                "earmark.internal.v1.TranscriberService",
            )
        )
        recognizer = RecognizerHandler(
            videos=videos, objects=objects, pool=pool, max_attempts=settings.recognizer_max_attempts
        )
        service.consumers.append(Consumer(bus, "recognizer", recognizer, concurrency=pool.places))
        service.tasks["recognizers"] = pool.run
        service.readiness["model"] = pool.ready
    if "preparer" in settings.transcriber_roles:
        if left := sweep_folders(settings.spool_dir):
            log.info("leftovers_removed", folders=left)
        limits = make_preparing_limits(settings)
        illustrator = Illustrator(videos=videos, objects=objects, limits=limits)
        renderer = Renderer(videos=videos, objects=objects, limits=limits, turns=Turns(settings.renditions_at_once))
        service.consumers += [
            Consumer(bus, "illustrator", illustrator.handle, concurrency=settings.pictures_at_once),
            Consumer(bus, "renderer", renderer.handle, concurrency=settings.renditions_open),
        ]
    return service


def make_preparing_limits(settings: Settings) -> PreparingLimits:
    """Says what making pictures and renditions may use."""
    return PreparingLimits(
        memory_bytes=settings.decoder_memory_mib * _MIB,
        stall_seconds=settings.decoder_stall_seconds * 5,
        pictures_cpu_seconds=settings.pictures_cpu_seconds,
        rendition_cpu_per_second=settings.rendition_cpu_per_second,
        rendition_cpu_seconds=max(round(settings.max_media_seconds * settings.rendition_cpu_per_second), 600),
        rendition_bytes=settings.max_upload_bytes,
        rendition_threads=settings.rendition_threads,
        step_cpu_seconds=settings.rendition_step_seconds,
        max_attempts=settings.preparer_max_attempts,
        spool=settings.spool_dir,
    )


def make_slicer(settings: Settings) -> Slicer:
    """Makes the slicer."""
    return Slicer(
        slice_seconds=settings.slice_seconds,
        first_slice_seconds=settings.first_slice_seconds,
        limits=SlicingLimits(
            memory_bytes=settings.decoder_memory_mib * _MIB,
            cpu_seconds=settings.decoder_cpu_seconds,
            stall_seconds=settings.decoder_stall_seconds,
            media_seconds=settings.max_media_seconds,
            spool_slices=settings.decoder_spool_slices,
        ),
        spool=settings.spool_dir,
    )


def make_fetcher(settings: Settings, objects: ObjectStore) -> Fetcher:
    """Makes the fetcher."""
    limits = FetchLimits(
        max_bytes=settings.max_upload_bytes,
        stall_seconds=settings.fetch_stall_seconds,
        total_seconds=settings.fetch_total_seconds,
        allow_private=settings.allow_private_urls,
    )
    return Fetcher(objects, limits, object_store_url=settings.object_store_url)


def make_pool(settings: Settings) -> WorkerPool:
    """Makes the pool of recognizers; it starts when it is run."""
    workers = settings.recognizer_workers or available_cores()
    options = WhisperOptions(
        model=settings.asr_model,
        device=settings.recognizer_device,
        compute_type=settings.recognizer_compute_type,
        threads=settings.recognizer_threads,
        beam=settings.recognizer_beam,
    )
    spec = WorkerSpec(
        kind=settings.recognizer,
        options=asdict(options) if settings.recognizer == "whisper" else {},
        memory_bytes=settings.recognizer_memory_mib * _MIB,
        lanes=1 if settings.recognizer_memory_mib else min(workers, _MOST_LANES),
    )
    limits = PoolLimits(
        workers=settings.recognizer_workers,
        queue=settings.recognizer_queue,
        seconds_per_second=settings.recognizer_seconds_per_second,
    )
    return WorkerPool(spec, limits)
