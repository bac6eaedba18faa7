"""The parts every integration test of a service starts from: a bus, a database and a video store on real servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from services.common import mongo
from services.common.events.bus import EventBus
from services.common.migrations.schema import Schema
from services.common.objects import ObjectStore
from services.common.settings import CommonSettings
from services.common.videos.store import VideoStore


@dataclass
class Backbone:
    """What the services of a mesh have in common, connected."""

    settings: CommonSettings
    bus: EventBus
    database: mongo.Database
    videos: VideoStore
    objects: ObjectStore


def common_settings(nats_url: str, mongo_url: str, mongo_database: str, object_store_url: str) -> CommonSettings:
    """Settings that point at the servers of a test."""
    return CommonSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        mongo_database=mongo_database,
        object_store_url=object_store_url,
        drain_seconds=0,
        shutdown_grace_seconds=5,
    )


@asynccontextmanager
async def backbone(settings: CommonSettings) -> AsyncIterator[Backbone]:
    """Connects to the servers of a test, and closes."""
    async with AsyncExitStack() as stack:
        database = await mongo.connect(settings, stack)
        bus = await EventBus.connect(settings, name="test")
        stack.push_async_callback(bus.close)
        await Schema(database).migrate()
        videos = VideoStore(database, bus)
        yield Backbone(settings, bus, database, videos, ObjectStore.open(settings.object_store_url))
