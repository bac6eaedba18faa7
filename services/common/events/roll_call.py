"""Who is there: every process of the mesh that has the bus answers a roll call with what it is and what it does."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
from collections.abc import Sequence
from typing import Any, Final

import orjson
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer

log = structlog.get_logger()

SUBJECT: Final = "earmark.roll-call"
MOST: Final = 1000
"""Answers that are listened to."""


class Present:
    """Answers roll calls for a process.

    Args:
        bus: The connection.
        service: Name of the service.
        consumers: What it works on.
    """

    def __init__(self, bus: EventBus, service: str, consumers: Sequence[Consumer]) -> None:
        self._bus = bus
        self._service = service
        self._consumers = consumers
        self._since = dt.datetime.now(dt.UTC)

    async def answer(self) -> None:
        """Answers until cancelled."""
        subscription = await self._bus.client.subscribe(SUBJECT, cb=self._on_call)
        try:
            await asyncio.Event().wait()
        finally:
            if self._bus.connected:
                await subscription.unsubscribe()

    async def _on_call(self, message: Msg) -> None:
        try:
            await message.respond(orjson.dumps(self._described()))
        except NatsError as error:
            log.warning("roll_call_not_answered", error=repr(error))

    def _described(self) -> dict[str, Any]:
        return {
            "service": self._service,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self._since,
            "work": [{"work": one.name, "busy": one.busy} for one in self._consumers],
        }


async def call_roll(bus: EventBus, *, seconds: float) -> list[dict[str, Any]]:
    """Asks who is there and gives what answers within the time: service, host, pid, since and work.

    Raises:
        nats.errors.Error: The bus is away.
    """
    found: list[dict[str, Any]] = []
    inbox = bus.client.new_inbox()

    async def on_answer(message: Msg) -> None:
        if len(found) < MOST and message.data:
            found.append(orjson.loads(message.data))

    subscription = await bus.client.subscribe(inbox, cb=on_answer)
    try:
        await bus.client.publish(SUBJECT, b"", reply=inbox)
        await asyncio.sleep(seconds)
    finally:
        await subscription.unsubscribe()
    return sorted(found, key=lambda one: (one["service"], one["host"], one["pid"]))
