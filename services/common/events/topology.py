"""Streams and durable consumers, as rows; the one place that knows what JetStream holds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServiceUnavailableError

from earmark.events.v1 import events_pb2 as pb
from services.common.ids import slot_of

EVENTS: Final = "EARMARK_EVENTS"
DEAD: Final = "EARMARK_DEAD"
ADVISORIES: Final = "EARMARK_ADVISORIES"

MESSAGES: Final[dict[str, type[Message]]] = {
    "video.uploaded": pb.VideoUploaded,
    "video.stored": pb.VideoStored,
    "video.unplayable": pb.VideoUnplayable,
    "video.described": pb.VideoDescribed,
    "video.ready": pb.VideoReady,
    "video.failed": pb.VideoFailed,
    "video.deleted": pb.VideoDeleted,
    "slice.cut": pb.SliceCut,
    "slice.transcribed": pb.SliceTranscribed,
    "slice.embedded": pb.SliceEmbedded,
    "slice.indexed": pb.SliceIndexed,
}
"""The events there are, by `<aggregate>.<past-tense>`."""

LANES: Final = 7
"""Lanes of slice.cut. Lane n is for slices 2^n - 1 to 2^(n+1) - 2 of a video, the last for all from there on: at the
usual lengths the first minute, to minute 7, to 27, to 67, to 2.4 hours, to 5 hours, and the rest."""

BULK_LANE: Final = 1
"""Lane of slice.transcribed for transcripts that were imported, which come by the thousand; it is asked last."""

GIVEN_LANES: Final = (0, 2, 3, 4)
"""Lanes of slice.transcribed for all else. What is heard or corrected comes slice by slice, into lane 0; captions and
whole transcripts come with all their slices at once: the first two go there too, then 4, 8, and the rest to the others.
At the usual lengths that is ten minutes, to half an hour, to 70 minutes, and the rest. Lane 0 has every other turn."""

_DAY = 24 * 3600.0
_NO_PEERS, _NAME_IN_USE = 10005, 10058
"""Error codes of JetStream: too few servers for the replicas asked for; a stream of that name, but of another kind."""


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    """A stream: what it keeps, and for how long (seconds) or how much (bytes)."""

    name: str
    subjects: tuple[str, ...]
    max_age_seconds: float
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class ConsumerRow:
    """A durable consumer, shared by all workers of one kind.

    Attributes:
        name: Name of the consumer, and of the work.
        stream: The stream it reads.
        subject: Which of the stream's subjects it reads.
        ack_wait_seconds: After this long without a sign of life the event goes to another worker.
        max_deliver: Deliveries before the event is given up. High, because an outage of MongoDB or the object
            store uses them up; work that fails by itself is bounded by its handler (`slices.attempts`).
    """

    name: str
    stream: str
    subject: str
    ack_wait_seconds: float = 15
    max_deliver: int = 25


STREAMS: Final = (
    StreamRow(name=EVENTS, subjects=("earmark.v1.>",), max_age_seconds=7 * _DAY, max_bytes=4 * 2**30),
    StreamRow(name=DEAD, subjects=("earmark.dead.>",), max_age_seconds=30 * _DAY, max_bytes=2**30),
    StreamRow(
        name=ADVISORIES,
        subjects=(f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{EVENTS}.*",),
        max_age_seconds=7 * _DAY,
        max_bytes=64 * 2**20,
    ),
)

CONSUMERS: Final = (
    ConsumerRow(name="slicer", stream=EVENTS, subject="earmark.v1.video.uploaded.>"),
    ConsumerRow(name="recognizer", stream=EVENTS, subject="earmark.v1.slice.cut.>"),
    *(
        ConsumerRow(name=f"recognizer-{lane}", stream=EVENTS, subject=f"earmark.v1.slice.cut-{lane}.>")
        for lane in range(1, LANES)
    ),
    ConsumerRow(name="embedder", stream=EVENTS, subject="earmark.v1.slice.transcribed.>"),
    *(
        ConsumerRow(name=f"embedder-{lane}", stream=EVENTS, subject=f"earmark.v1.slice.transcribed-{lane}.>")
        for lane in (*GIVEN_LANES[1:], BULK_LANE)
    ),
    ConsumerRow(name="illustrator", stream=EVENTS, subject="earmark.v1.video.stored.>"),
    ConsumerRow(name="renderer", stream=EVENTS, subject="earmark.v1.video.unplayable.>"),
    ConsumerRow(name="cleaner", stream=EVENTS, subject="earmark.v1.video.deleted.>"),
    ConsumerRow(name="undertaker", stream=DEAD, subject="earmark.dead.>"),
    ConsumerRow(name="advisories", stream=ADVISORIES, subject="$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"),
)

ASIDE: Final = frozenset({"illustrator", "renderer"})
"""Work on no video's way to being searchable: however long it takes, nothing waits for it."""


def subject(kind: str, video_id: str, lane: int = 0) -> str:
    """Gives the subject of an event, `earmark.v1.<aggregate>.<past-tense>[-<lane>].<slot>.<video_id>`.

    Args:
        kind: One of `MESSAGES`, for example `slice.cut`.
        video_id: The video.
        lane: The lane, where the kind has some; lane 0 has no number, as all events once had none.
    """
    if kind not in MESSAGES:
        raise ValueError(f"there is no event {kind!r}")
    return f"earmark.v1.{kind}{f'-{lane}' if lane else ''}.{slot_of(video_id):03d}.{video_id}"


def lane_of(message: Message, *, bulk: bool = False, place: int = 0) -> int:
    """Gives the lane of an event.

    That of its position in the video for slice.cut; for slice.transcribed that of its place among those owed at once,
    or of what is imported; 0 for any other.

    Args:
        message: The event.
        bulk: Whether nobody waits for that one video.
        place: How many events like it its video owes at once before it.
    """
    if isinstance(message, pb.SliceTranscribed):
        if bulk:
            return BULK_LANE
        return GIVEN_LANES[min((place // 2 + 1).bit_length() - 1, len(GIVEN_LANES) - 1)]
    if not isinstance(message, pb.SliceCut) or not message.slice_id.isdecimal():
        return 0
    return min((int(message.slice_id) + 1).bit_length() - 1, LANES - 1)


def kind_of(subject: str) -> str:
    """Gives the kind of an event, `<aggregate>.<past-tense>`, from its subject."""
    return ".".join(subject.split(".")[2:4]).partition("-")[0]


def consumer(name: str) -> ConsumerRow:
    """Gives the row of the consumer called `name`."""
    return next(row for row in CONSUMERS if row.name == name)


def lanes_of(work: str) -> list[ConsumerRow]:
    """Gives the consumers of a work, one for each of its lanes as they are asked; mostly just the one called `work`."""
    return [row for row in CONSUMERS if work_of(row.name) == work]


def work_of(consumer_name: str) -> str:
    """Gives the work that a consumer, or one lane of it, is for."""
    return consumer_name.partition("-")[0]


async def apply(js: JetStreamContext, *, replicas: int) -> None:
    """Makes streams and consumers what the tables say; doing it again, or from several services at once, is fine.

    What is right already is left alone: in a cluster each change is agreed on by its servers, and a mesh that starts
    would ask for hundreds of them at once.
    """
    for stream in STREAMS:
        await _apply_stream(js, stream, replicas)
    for row in CONSUMERS:
        await _apply_consumer(js, row)


async def _apply_stream(js: JetStreamContext, row: StreamRow, replicas: int) -> None:
    config = StreamConfig(
        name=row.name,
        subjects=list(row.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=row.max_age_seconds,
        max_bytes=row.max_bytes,
        duplicate_window=120,
        num_replicas=replicas,
        allow_direct=True,
    )
    try:
        if not _like((await js.stream_info(row.name)).config, config):
            await js.update_stream(config)
    except NotFoundError:
        try:
            await js.add_stream(config)
        except BadRequestError as error:
            if error.err_code != _NAME_IN_USE:
                raise
            await js.update_stream(config)  # another service made it meanwhile, of another version


async def _apply_consumer(js: JetStreamContext, row: ConsumerRow) -> None:
    config = ConsumerConfig(
        durable_name=row.name,
        filter_subject=row.subject,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=row.ack_wait_seconds,
        max_deliver=row.max_deliver,
        max_ack_pending=4096,
    )
    try:
        if _like((await js.consumer_info(row.stream, row.name)).config, config):
            return
    except NotFoundError:
        pass
    # Adding one that exists updates it, and keeps its place in the stream.
    await js.add_consumer(row.stream, config)


def _like(there: StreamConfig | ConsumerConfig | None, wanted: StreamConfig | ConsumerConfig) -> bool:
    """Says whether a configuration has all that is wanted; what nobody asked for is the server's to fill in."""
    asked = {name: value for name, value in dataclasses.asdict(wanted).items() if value is not None}
    defaults = dataclasses.asdict(type(wanted)())
    return there is not None and all(
        getattr(there, name) == value for name, value in asked.items() if value != defaults[name]
    )


def forming(error: Exception) -> bool:
    """Says whether an error is one of a cluster that is coming up or choosing a leader, and so will pass."""
    if isinstance(error, ServiceUnavailableError | TimeoutError | NoRespondersError):
        return True
    return isinstance(error, APIError) and error.err_code == _NO_PEERS
