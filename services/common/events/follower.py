"""Following the stream from a sequence: what index replicas do, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from ulid import ULID

from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.ids import SLOTS

log = structlog.get_logger()

KINDS = ("slice.embedded", "video.described", "video.deleted")
BATCH = 256
IDLE_SECONDS = 1.0
QUIET_SECONDS = 5.0
"""Where nobody publishes anything: as long is waited without a question, unless something is published."""


@dataclass(frozen=True, slots=True)
class FollowedEvent:
    """An event, its kind (one of `KINDS`) and its sequence in the stream."""

    kind: str
    message: Message
    sequence: int


class Follower:
    """Reads the events of some slots in the stream's order, without acks: the reader remembers how far it came.

    Args:
        bus: The connection.
        slots: Slots to follow; of none nothing comes.
        after_sequence: Last sequence already applied.

    Attributes:
        sequence: Everything up to here that concerns the slots has been given out. Grows while idle too, so that
            the place of a quiet shard does not fall behind the stream's retention.
        caught_up: Whether all there was at the start has been given out and come back for more.
        lag: Events of the slots not yet given out, as of the last batch.
    """

    def __init__(self, bus: EventBus, *, slots: Collection[int], after_sequence: int) -> None:
        self._bus = bus
        self._slots = frozenset(slots)
        self._subjects = (
            [f"earmark.v1.{kind}.>" for kind in KINDS]
            if len(slots) == SLOTS
            else [f"earmark.v1.{kind}.{slot:03d}.*" for kind in KINDS for slot in sorted(slots)]
        )
        self.sequence = after_sequence
        self._end = 0
        self._quiet = False
        self._alarm: Subscription | None = None
        self._armed = False
        self._look = asyncio.Event()
        self.caught_up = False
        self.lag = 0

    async def batches(self) -> AsyncGenerator[list[FollowedEvent]]:
        """Gives events in batches, for ever. A batch counts as applied when the next is asked for.

        An empty batch comes when there was nothing for a second, or for five in a stream in which nothing happens.
        """
        while True:
            try:
                async for batch in self._consume() if self._slots else self._nothing():
                    yield batch
                    if batch:
                        self.sequence = max(self.sequence, batch[-1].sequence)
            except (NatsError, TimeoutError) as error:
                log.warning("follower_interrupted", error=repr(error), sequence=self.sequence)
                await asyncio.sleep(0.5)

    def look(self) -> None:
        """Has a batch come within a second, though it may be empty."""
        self._look.set()

    async def _consume(self) -> AsyncIterator[list[FollowedEvent]]:
        """Reads through one ephemeral consumer until it breaks off or skips something."""
        name = f"follower-{ULID()}"
        end = await self._bus.last_sequence()
        info = await self._bus.js.add_consumer(
            topology.EVENTS,
            ConsumerConfig(
                name=name,
                filter_subjects=self._subjects,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self.sequence + 1,
                inactive_threshold=60,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self.lag = info.num_pending or 0
        if self.lag == 0:
            self.sequence = max(self.sequence, end)
            self.caught_up = True
        subscription = await self._bus.js.pull_subscribe_bind(name, stream=topology.EVENTS)
        expected = 1
        self._quiet = self._armed = False
        try:
            while True:
                if not (messages := await self._fetch(subscription)):
                    await self._idle(name, expected - 1)
                    yield []
                    continue
                self._quiet = False
                batch: list[FollowedEvent] = []
                for message in messages:
                    # One got lost on the way: begin again behind the last.
                    if message.metadata.sequence.consumer != expected:
                        log.warning("follower_gap", expected=expected, got=message.metadata.sequence.consumer)
                        break
                    expected += 1
                    self.lag = message.metadata.num_pending
                    kind = topology.kind_of(message.subject)
                    parsed = topology.MESSAGES[kind].FromString(message.data)
                    batch.append(FollowedEvent(kind, parsed, message.metadata.sequence.stream))
                if batch:
                    yield batch
                if len(batch) < len(messages):
                    return
                if self.lag == 0:
                    self.caught_up = True
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()
                if self._armed and self._alarm is not None:
                    await self._alarm.unsubscribe()
                await self._bus.js.delete_consumer(topology.EVENTS, name)

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        """Gives the next messages; none when none came for a while."""
        try:
            if not self._quiet:
                return await subscription.fetch(BATCH, timeout=IDLE_SECONDS)
            return await self._fetch_unless_asked(subscription)
        except TimeoutError:  # of nats-py, or the plain one that it also lets through on a busy machine
            return []

    async def _fetch_unless_asked(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        fetching = asyncio.ensure_future(subscription.fetch(BATCH, timeout=QUIET_SECONDS))
        asked = asyncio.ensure_future(self._look.wait())
        try:
            await asyncio.wait({fetching, asked}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({fetching}, timeout=IDLE_SECONDS)
            return fetching.result() if fetching.done() else []
        finally:
            fetching.cancel()
            asked.cancel()

    async def _listen(self) -> None:
        """Has the next event of the stream, whomever it concerns, end the quiet."""
        self._look.clear()
        if self._armed:
            return

        async def on_event(_: Msg) -> None:
            self._armed = False
            self._look.set()

        self._armed = True
        self._alarm = await self._bus.client.subscribe(topology.EVERY_EVENT, cb=on_event)
        await self._alarm.unsubscribe(limit=1)  # once: what comes while there is enough to do would only cost

    async def _nothing(self) -> AsyncIterator[list[FollowedEvent]]:
        """Goes on with the stream's end: no event concerns those who follow no slot."""
        while True:
            self.sequence = max(self.sequence, await self._bus.last_sequence())
            self.caught_up = True
            yield []
            await asyncio.sleep(IDLE_SECONDS)

    async def _idle(self, name: str, delivered: int) -> None:
        """Nothing came: all there was when this was last asked has been given out, if the server agrees.

        The end is the one of the round before, since a consumer learns of an event a little after the stream has it.
        """
        await self._listen()
        end, self._end = self._end, await self._bus.last_sequence()
        info = await self._bus.js.consumer_info(topology.EVENTS, name)
        self.lag = info.num_pending or 0
        if self.lag == 0 and info.delivered is not None and info.delivered.consumer_seq == delivered:
            self.sequence = max(self.sequence, end)
            self.caught_up = True
            self._quiet = self.sequence == self._end
