"""The connection to NATS, and publishing."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import nats
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError
from ulid import ULID

from services.common import tls, tracing
from services.common.events import topology
from services.common.settings import CommonSettings

log = structlog.get_logger()

CONTENT_TYPE = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class OwedEvent:
    """An event a document owes the stream. `event_id` is its `Nats-Msg-Id`: sent twice, it is stored once."""

    event_id: str
    subject: str
    payload: bytes

    @classmethod
    def of(cls, kind: str, message: Message, video_id: str, *, bulk: bool = False, place: int = 0) -> OwedEvent:
        """Makes the event of `kind` for a video, with a fresh id; `bulk` and `place` are those of `lane_of`."""
        subject = topology.subject(kind, video_id, topology.lane_of(message, bulk=bulk, place=place))
        return cls(str(ULID()), subject, message.SerializeToString())


@dataclass(frozen=True, slots=True)
class Queue:
    """Events before a work.

    Attributes:
        work: What works on them.
        pending: Events that no worker has taken yet.
        in_flight: Events being worked on, or to be tried again.
        oldest_seconds: Age of the oldest that is not done; None where there is none.
    """

    work: str
    pending: int
    in_flight: int
    oldest_seconds: float | None


class EventBus:
    """NATS with JetStream. Reconnects for ever; while it cannot, publishing raises and what is owed stays owed."""

    def __init__(self, client: Client, js: JetStreamContext) -> None:
        self.client = client
        self.js = js

    @classmethod
    async def connect(cls, settings: CommonSettings, *, name: str) -> EventBus:
        """Connects, waiting as long as it takes, and applies the topology."""

        async def on_error(error: Exception) -> None:
            log.warning("nats_error", error=repr(error))

        async def on_disconnect() -> None:
            log.warning("nats_disconnected")

        async def on_reconnect() -> None:
            log.info("nats_reconnected")

        client = await nats.connect(
            servers=[url.strip() for url in settings.nats_url.split(",")],
            name=name,
            token=settings.nats_token.get_secret_value() if settings.nats_token else None,
            tls=tls.client_context(settings.tls_dir) if settings.tls_dir else None,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            ping_interval=10,
            max_outstanding_pings=3,
            pending_size=0,  # while disconnected a publish fails at once instead of piling up in memory
            error_cb=on_error,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
        )
        js = client.jetstream(timeout=5)
        while True:
            try:
                await topology.apply(js, replicas=settings.nats_replicas)
            except Exception as error:
                if not topology.forming(error):
                    await client.close()
                    raise
                log.warning("jetstream_not_ready", error=repr(error))
                await asyncio.sleep(1)
            else:
                return cls(client, js)

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self.client.is_connected

    async def publish(self, event: OwedEvent) -> None:
        """Publishes and waits until the stream has stored the event."""
        headers = {"Nats-Msg-Id": event.event_id, "Content-Type": CONTENT_TYPE, **tracing.outgoing_headers()}
        await self.js.publish(event.subject, event.payload, headers=headers)

    async def publish_dead(self, letter: Message, *, consumer: str, event_id: str) -> None:
        """Publishes to the dead-letter stream."""
        headers = {"Nats-Msg-Id": event_id, "Content-Type": CONTENT_TYPE}
        await self.js.publish(f"earmark.dead.v1.{consumer}", letter.SerializeToString(), headers=headers)

    async def last_sequence(self) -> int:
        """Gives the sequence of the newest event stored; 0 when there never was one."""
        return (await self.js.stream_info(topology.EVENTS)).state.last_seq

    async def first_sequence(self) -> int:
        """Gives the sequence of the oldest event still stored; one past the newest when there is none."""
        state = (await self.js.stream_info(topology.EVENTS)).state
        return state.first_seq if state.messages else state.last_seq + 1

    async def backlog(self) -> Mapping[str, int]:
        """Gives, for each durable consumer of the events, how many events wait or are being worked on."""
        counts = {}
        for row in topology.CONSUMERS:
            info = await self.js.consumer_info(row.stream, row.name)
            counts[row.name] = (info.num_pending or 0) + (info.num_ack_pending or 0)
        return counts

    async def queues(self) -> Sequence[Queue]:
        """Gives how long the queue before each work is, all its lanes together."""
        now = dt.datetime.now(dt.UTC)
        queues: dict[str, Queue] = {}
        for row in topology.CONSUMERS:
            info = await self.js.consumer_info(row.stream, row.name)
            pending, in_flight = info.num_pending or 0, info.num_ack_pending or 0
            oldest = await self._oldest(row, info) if pending or in_flight else None
            work = topology.work_of(row.name)
            before = queues.get(work, Queue(work, 0, 0, None))
            ages = [(now - oldest).total_seconds()] if oldest else []
            if before.oldest_seconds is not None:
                ages.append(before.oldest_seconds)
            queues[work] = Queue(work, before.pending + pending, before.in_flight + in_flight, max(ages, default=None))
        return list(queues.values())

    async def _oldest(self, row: topology.ConsumerRow, info: ConsumerInfo) -> dt.datetime | None:
        """Says when the oldest event was stored that is not done."""
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        try:
            message = await self.js.get_msg(row.stream, seq=floor + 1, subject=row.subject, next=True)
        except NotFoundError:
            return None
        return message.time

    @contextlib.asynccontextmanager
    async def changes(self, video_id: str) -> AsyncIterator[asyncio.Event]:
        """Gives an asyncio event that is set whenever an event about the video passes; one can be missed: also poll."""
        changed = asyncio.Event()

        async def on_message(_: Msg) -> None:
            changed.set()

        subscription = await self.client.subscribe(f"earmark.v1.*.*.*.{video_id}", cb=on_message)
        try:
            yield changed
        finally:
            with contextlib.suppress(NatsError):  # the connection may be gone; then so is the subscription
                await subscription.unsubscribe()

    async def close(self) -> None:
        """Drains and closes."""
        try:
            await asyncio.wait_for(self.client.drain(), timeout=5)
        except (NatsError, TimeoutError) as error:
            log.warning("nats_drain_failed", error=repr(error))
            await self.client.close()
