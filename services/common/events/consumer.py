"""Consumers of one kind of work: fetch for free workers only, say that work goes on, and turn outcomes into acks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, assert_never

import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter, Histogram

from earmark.events.v1 import events_pb2 as pb
from services.common import tracing
from services.common.errors import EarmarkError
from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.events.sources import Turns, open_source
from services.common.metrics import WORK_SECONDS

log = structlog.get_logger()

T = TypeVar("T")

HANDLED = Counter("earmark_events_handled_total", "Events handled, by outcome.", ["consumer", "outcome"])
SECONDS = Histogram("earmark_events_handling_seconds", "Time a handler took.", ["consumer"], buckets=WORK_SECONDS)


@dataclass(frozen=True, slots=True)
class Done:
    """The event is handled."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The event is to be handled again, after a while that grows with each delivery unless given."""

    reason: str
    message: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """The event cannot be handled, now or later: it goes to the dead-letter stream."""

    reason: str
    message: str


Outcome = Done | Retry | Reject


@dataclass(frozen=True, slots=True)
class Event:
    """An event as delivered.

    Attributes:
        kind: `<aggregate>.<past-tense>`; empty for dead letters and advisories.
        subject: Its subject.
        payload: Its bytes.
        message: `payload`, read; None where it is no event of ours.
        sequence: Its sequence in the stream.
        deliveries: How often it was delivered, this time included.
        last_attempt: Whether it is given up after this delivery.
    """

    kind: str
    subject: str
    payload: bytes
    message: Message | None
    sequence: int
    deliveries: int
    last_attempt: bool


Handler = Callable[[Event], Awaitable[Outcome]]


class Consumer:
    """Works on the events of one durable consumer, or of one for each lane; any number of processes share them.

    Args:
        bus: The connection.
        name: The work: a row of the topology, and its lanes.
        handler: Handles one event; must be idempotent. What it raises is an outcome too: a transient EarmarkError
            or an unknown exception is Retry, any other EarmarkError is Reject.
        concurrency: Events worked on at once by this process; a semaphore where that is not known from the start.
    """

    def __init__(self, bus: EventBus, name: str, handler: Handler, *, concurrency: int | asyncio.Semaphore = 1) -> None:
        self._bus = bus
        self._rows = topology.lanes_of(name)
        self._row = topology.consumer(name)
        self._turns = Turns(len(self._rows))
        self._handler = handler
        self._free = asyncio.Semaphore(concurrency) if isinstance(concurrency, int) else concurrency
        self._stopping = asyncio.Event()
        self._fetching = asyncio.Lock()
        self._working: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The work; the lanes of one are not told apart."""
        return self._row.name

    @property
    def busy(self) -> int:
        """Events worked on just now."""
        return len(self._working)

    async def run(self) -> None:
        """Fetches and handles until stopped."""
        while not self._stopping.is_set():
            try:
                async with self._fetching:
                    await self._fetch_and_work()
            except (NatsError, TimeoutError) as error:
                log.warning("fetch_failed", consumer=self.name, error=repr(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), timeout=1)

    async def _fetch_and_work(self) -> None:
        """Fetches for free workers until stopped, or until the connection breaks off."""
        source = await open_source(self._bus, self._rows, self._turns)
        try:
            while not self._stopping.is_set():
                free = await self._wait_for_room()
                if free == 0:
                    return
                messages: list[Msg] = []
                try:
                    messages = await self._unless_stopping(source.fetch(free)) or []
                finally:
                    for _ in range(free - len(messages)):
                        self._free.release()
                for message in messages:
                    task = asyncio.create_task(
                        self._work(message), name=f"{self.name}-{message.metadata.sequence.stream}"
                    )
                    self._working.add(task)
                    task.add_done_callback(self._working.discard)
        finally:
            await source.close()

    async def _wait_for_room(self) -> int:
        """Takes all free worker slots, at least one unless told to stop, and gives how many."""
        if await self._unless_stopping(self._free.acquire()) is None:
            return 0
        free = 1
        while not self._free.locked():
            await self._free.acquire()
            free += 1
        return free

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Waits for `work`; gives None, and gives it up, when told to stop meanwhile."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stop.cancel()
            task.cancel()

    async def stop(self, *, grace_seconds: float) -> None:
        """Stops fetching, gives work under way its grace, then gives it back to the other workers."""
        self._stopping.set()
        async with self._fetching:  # fetching has ended: what is given back below must not come to this process again
            pass
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=5)

    async def _work(self, message: Msg) -> None:
        try:
            event = self._event(message)
            beat = asyncio.create_task(self._beat(message))
            with SECONDS.labels(self.name).time():
                try:
                    outcome = await self._handle(event, message)
                except asyncio.CancelledError:
                    await message.nak()
                    raise
                finally:
                    beat.cancel()
            await self._settle(message, event, outcome)
        except NatsError as error:
            # The ack did not get through: the event comes again after its ack wait, and its handler finds it done.
            log.warning("ack_failed", consumer=self.name, subject=message.subject, error=repr(error))
        finally:
            self._free.release()

    def _event(self, message: Msg) -> Event:
        kind = topology.kind_of(message.subject) if message.subject.startswith("earmark.v1.") else ""
        parsed: Message | None = topology.MESSAGES[kind].FromString(message.data) if kind in topology.MESSAGES else None
        deliveries = message.metadata.num_delivered
        return Event(
            kind=kind,
            subject=message.subject,
            payload=message.data,
            message=parsed,
            sequence=message.metadata.sequence.stream,
            deliveries=deliveries,
            last_attempt=deliveries >= self._row.max_deliver,
        )

    async def _handle(self, event: Event, message: Msg) -> Outcome:
        try:
            with tracing.span(f"{self.name} process", message.headers, subject=event.subject):
                return await self._handler(event)
        except EarmarkError as error:
            if error.transient:
                return Retry(error.reason, error.message, error.retry_after_seconds)
            return Reject(error.reason, error.message)
        except Exception:
            log.exception("handler_failed", consumer=self.name, subject=event.subject, deliveries=event.deliveries)
            return Retry("INTERNAL", f"the {self.name} failed unexpectedly; its log says why")

    async def _settle(self, message: Msg, event: Event, outcome: Outcome) -> None:
        HANDLED.labels(self.name, type(outcome).__name__.lower()).inc()
        match outcome:
            case Done():
                await message.ack()
            case Retry() if not event.last_attempt:
                delay = (
                    outcome.after_seconds
                    if outcome.after_seconds is not None
                    else min(2.0 ** (event.deliveries - 1), 60.0)
                )
                log.info("event_retried", consumer=self.name, subject=event.subject, reason=outcome.reason, after=delay)
                await message.nak(delay=delay)
            case Retry() | Reject():
                log.warning(
                    "event_given_up",
                    consumer=self.name,
                    subject=event.subject,
                    reason=outcome.reason,
                    message=outcome.message,
                )
                if self._row.stream == topology.EVENTS:
                    await bury(self._bus, event, consumer=self.name, reason=outcome.reason, message=outcome.message)
                await message.term()
            case _:
                assert_never(outcome)

    async def _beat(self, message: Msg) -> None:
        """Says every third of the ack wait that the work goes on."""
        while True:
            await asyncio.sleep(self._row.ack_wait_seconds / 3)
            with contextlib.suppress(NatsError):  # while disconnected there is nobody to tell
                await message.in_progress()


async def bury(bus: EventBus, event: Event, *, consumer: str, reason: str, message: str) -> None:
    """Puts an event into the dead-letter stream; twice is once."""
    letter = pb.DeadLetter(
        subject=event.subject,
        payload=event.payload,
        consumer=consumer,
        stream_sequence=event.sequence,
        deliveries=event.deliveries,
        reason=reason,
        message=message,
    )
    await bus.publish_dead(letter, consumer=consumer, event_id=f"{consumer}-{event.sequence}")
