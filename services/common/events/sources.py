"""Where a consumer's events come from: one durable consumer of JetStream, or several lanes that are asked in turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from services.common.events.bus import EventBus
from services.common.events.topology import ConsumerRow

FETCH_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_FIRST_LOOK_SECONDS = 0.02
_LONGEST_LOOK_SECONDS = 1.0


class Source(Protocol):
    """Gives events to work on."""

    async def fetch(self, count: int) -> list[Msg]:
        """Gives up to `count` events; none when none came for a while. Raises NatsError, TimeoutError."""
        ...

    async def close(self) -> None:
        """Asks for no more."""
        ...


class Turns:
    """Which lane is asked first.

    Every other turn begins at lane 0 and goes up; the turns between begin at lanes 1, 2, … one after the other. So
    what waits in an early lane goes ahead, and yet each lane has at least one in 2 x (lanes - 1) turns: no stream of
    short videos, however long, stops a long one.

    Args:
        lanes: How many there are.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._turn = 0

    def next(self) -> list[int]:
        """Gives all lanes in the order in which they are asked this time."""
        turn, self._turn = self._turn, self._turn + 1
        lanes = list(range(self._lanes))
        if turn % 2 == 0 or self._lanes == 1:
            return lanes
        first = 1 + turn // 2 % (self._lanes - 1)
        return [first, *(lane for lane in lanes if lane != first)]


async def open_source(bus: EventBus, rows: Sequence[ConsumerRow], turns: Turns) -> Source:
    """Opens the events of a work, given its lanes."""
    if len(rows) > 1:
        return await _Lanes.open(bus, rows, turns)
    return _Single(await bus.js.pull_subscribe_bind(rows[0].name, stream=rows[0].stream))


class _Single:
    """One durable consumer, waited on."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription

    async def fetch(self, count: int) -> list[Msg]:
        # Of nats-py, or the plain one that it also lets through on a busy machine.
        with contextlib.suppress(TimeoutError):
            return await self._subscription.fetch(count, timeout=FETCH_SECONDS)
        return []

    async def close(self) -> None:
        # Without this the server would hand the next event to a request that nobody waits for any more.
        with contextlib.suppress(NatsError):
            await self._subscription.unsubscribe()


class _Lanes:
    """Several durable consumers, asked one after the other without waiting at any.

    So each event taken is the most urgent there is. A plain subscription to the same subjects says when to look again.
    """

    def __init__(self, bus: EventBus, rows: Sequence[ConsumerRow], turns: Turns) -> None:
        self._bus = bus
        self._rows = rows
        self._turns = turns
        self._inboxes: list[tuple[str, Subscription]] = []
        self._alarms: list[Subscription] = []
        self._news = asyncio.Event()

    @classmethod
    async def open(cls, bus: EventBus, rows: Sequence[ConsumerRow], turns: Turns) -> _Lanes:
        lanes = cls(bus, rows, turns)

        async def on_event(_: Msg) -> None:
            lanes._news.set()

        for row in rows:
            inbox = bus.client.new_inbox()
            lanes._inboxes.append((inbox, await bus.client.subscribe(inbox)))
            lanes._alarms.append(await bus.client.subscribe(row.subject, cb=on_event))
        return lanes

    async def fetch(self, count: int) -> list[Msg]:
        taken: list[Msg] = []
        end = monotonic() + FETCH_SECONDS
        pause = _FIRST_LOOK_SECONDS
        try:
            while True:
                self._news.clear()
                while len(taken) < count and (message := await self._take()) is not None:
                    taken.append(message)
                if taken or monotonic() > end:
                    return taken
                # Looked at again even without news: a subscriber hears of an event a little before the stream has it,
                # and hears nothing of one that comes back.
                try:
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                    pause = _FIRST_LOOK_SECONDS
                except TimeoutError:
                    pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
        except asyncio.CancelledError:
            for message in taken:  # nobody will work on them here
                with contextlib.suppress(NatsError):
                    await message.nak()
            raise

    async def _take(self) -> Msg | None:
        for lane in self._turns.next():
            row, (inbox, subscription) = self._rows[lane], self._inboxes[lane]
            await self._bus.client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{row.stream}.{row.name}", b'{"batch":1,"no_wait":true}', reply=inbox
            )
            message = await subscription.next_msg(timeout=_ANSWER_SECONDS)
            status = (message.headers or {}).get("Status")
            if status is None:
                return message
            if status not in {"404", "408"}:
                raise NatsError(f"{row.name} answered with status {status}")
        return None

    async def close(self) -> None:
        for subscription in [*self._alarms, *(subscription for _, subscription in self._inboxes)]:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()
