"""The second way into the dead-letter stream: a worker that dies each time never gets to say so, but JetStream does."""

from __future__ import annotations

import orjson
from nats.js.errors import NotFoundError

from services.common.events import topology
from services.common.events.bus import EventBus
from services.common.events.consumer import Consumer, Done, Event, Outcome, bury


def advisories(bus: EventBus) -> Consumer:
    """Gives the consumer that buries events whose every delivery ended without a word."""

    async def handle(advisory: Event) -> Outcome:
        fields = orjson.loads(advisory.payload)
        sequence, consumer = int(fields["stream_seq"]), topology.work_of(str(fields["consumer"]))
        try:
            stored = await bus.js.get_msg(topology.EVENTS, seq=sequence, direct=True)
        except NotFoundError:  # past its retention; nobody waits for it any more
            return Done()
        subject = stored.subject or ""
        event = Event(
            kind=topology.kind_of(subject),
            subject=subject,
            payload=stored.data or b"",
            message=None,
            sequence=sequence,
            deliveries=int(fields["deliveries"]),
            last_attempt=True,
        )
        message = (
            f"every worker that took it ({event.deliveries} times) stopped before it was done; see the {consumer}'s log"
        )
        await bury(bus, event, consumer=consumer, reason="WORKER_DIED", message=message)
        return Done()

    return Consumer(bus, "advisories", handle)
