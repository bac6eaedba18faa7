"""Following the stream from a sequence: what index replicas do, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from ulid import ULID

from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.ids import SLOTS

log = structlog.get_logger()

KINDS = ("slice.embedded", "video.described", "video.deleted")
BATCH = 256
IDLE_SECONDS = 1.0


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
        self.caught_up = False
        self.lag = 0

    async def batches(self) -> AsyncGenerator[list[FollowedEvent]]:
        """Gives events in batches, for ever. A batch counts as applied when the next is asked for.

        An empty batch comes when there was nothing for a second.
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
        try:
            while True:
                try:
                    messages = await subscription.fetch(BATCH, timeout=IDLE_SECONDS)
                except TimeoutError:  # of nats-py, or the plain one that it also lets through on a busy machine
                    await self._idle(name, expected - 1)
                    yield []
                    continue
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
                await self._bus.js.delete_consumer(topology.EVENTS, name)

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
        end, self._end = self._end, await self._bus.last_sequence()
        info = await self._bus.js.consumer_info(topology.EVENTS, name)
        self.lag = info.num_pending or 0
        if self.lag == 0 and info.delivered is not None and info.delivered.consumer_seq == delivered:
            self.sequence = max(self.sequence, end)
            self.caught_up = True
