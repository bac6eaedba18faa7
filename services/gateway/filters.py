"""What a search may find: checked, and as the shards are told."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import InvalidArgument
from services.common.ids import is_video_id
from services.gateway.attributes import checked_collection, one_line

MAX_VALUES = 100
MAX_VALUE_CHARS = 200
MAX_DURATION_SECONDS = 1e9
_SHOWN_CHARS = 64
_NO_COLLECTION = "/"
"""In place of an empty list, which would mean all: no collection can be called that (`checked_collection`)."""


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What must hold of a chunk to be found; what is empty or None says nothing.

    Attributes:
        video_ids: It is of one of these videos.
        language: It is spoken in this language, ISO 639-1.
        collections: Its video is in one of these collections.
        speakers: One of these speaks.
        tags: Its video has every one of these tags.
        uploaded_since: Its video was uploaded then or later.
        uploaded_before: Its video was uploaded earlier.
        min_duration: Its video is at least so long, in seconds.
        max_duration: Its video is at most so long, in seconds.
    """

    video_ids: tuple[str, ...] = ()
    language: str = ""
    collections: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    uploaded_since: dt.datetime | None = None
    uploaded_before: dt.datetime | None = None
    min_duration: float | None = None
    max_duration: float | None = None

    @classmethod
    def of(
        cls,
        *,
        video_ids: Sequence[str] = (),
        language: str = "",
        collections: Sequence[str] = (),
        speakers: Sequence[str] = (),
        tags: Sequence[str] = (),
        uploaded_since: dt.datetime | None = None,
        uploaded_before: dt.datetime | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
    ) -> SearchFilter:
        """Checks a filter. A time without a zone is taken for UTC.

        Raises:
            InvalidArgument: with the field that is wrong, as the HTTP API names it, and what is allowed.
        """
        language = language.strip().lower()
        if language and not (language.isascii() and language.isalpha() and 2 <= len(language) <= 3):
            raise InvalidArgument(f"language {language[:32]!r} is no ISO 639 code, such as en", field="language")
        for video_id in _bounded(video_ids, "video_id"):
            if not is_video_id(video_id):
                raise InvalidArgument(f"{video_id[:64]!r} is no video id (vid_ and 26 characters)", field="video_id")
        since = _instant(uploaded_since, "uploaded_since")
        before = _instant(uploaded_before, "uploaded_before")
        if since is not None and before is not None and since > before:
            raise InvalidArgument(
                f"nothing is uploaded since {since.isoformat()} and before {before.isoformat()}; exchange the two",
                field="uploaded_since",
            )
        shortest, longest = _length(min_duration, "min_duration"), _length(max_duration, "max_duration")
        if shortest is not None and longest is not None and shortest > longest:
            raise InvalidArgument(
                f"no video is at least {shortest:g} s and at most {longest:g} s long; exchange the two",
                field="min_duration",
            )
        return cls(
            video_ids=_each_once(video_ids),
            language=language,
            collections=_each_once(
                [checked_collection(_named(name, "collection")) for name in _bounded(collections, "collection")]
            ),
            speakers=_each_once([_named(name, "speaker") for name in _bounded(speakers, "speaker")]),
            tags=_each_once([_named(name, "tag") for name in _bounded(tags, "tag")]),
            uploaded_since=since,
            uploaded_before=before,
            min_duration=shortest,
            max_duration=longest,
        )

    def within(self, collections: Collection[str] | None) -> SearchFilter:
        """Gives the filter for someone who sees only these collections; None for who sees all.

        What is left of nothing is asked of the shards like a collection that does not exist: neither the answer nor the
        time it takes tells the two apart.
        """
        if collections is None:
            return self
        seen = set(collections)
        left = seen.intersection(self.collections) if self.collections else seen
        return replace(self, collections=_each_once(list(left)) or (_NO_COLLECTION,))

    def key(self) -> tuple[object, ...]:
        """Gives what tells this filter from another."""
        return astuple(self)

    def message(self) -> pb.ChunkFilter | None:
        """Gives the filter as the shards are told; None when it says nothing."""
        if self == _EVERYTHING:
            return None
        return pb.ChunkFilter(
            video_ids=self.video_ids,
            language=self.language,
            collections=self.collections,
            speakers=self.speakers,
            tags=self.tags,
            uploaded_since=_timestamp(self.uploaded_since),
            uploaded_before=_timestamp(self.uploaded_before),
            min_duration=_duration(self.min_duration),
            max_duration=_duration(self.max_duration),
        )


_EVERYTHING = SearchFilter()


def _bounded(values: Sequence[str], field: str) -> Sequence[str]:
    if len(values) > MAX_VALUES:
        raise InvalidArgument(f"{field} is given {len(values)} times; {MAX_VALUES} times at most", field=field)
    return values


def _each_once(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _named(text: str, field: str) -> str:
    """Checks a name. An empty one is a mistake of the caller's, who would else be shown everything."""
    name = one_line(text)
    if not name:
        raise InvalidArgument(f"{field} is empty; leave it out to search them all", field=field)
    if len(name) > MAX_VALUE_CHARS:
        shown = name[:_SHOWN_CHARS]
        raise InvalidArgument(f"{field} {shown!r}… is over {MAX_VALUE_CHARS} characters", field=field)
    return name


def _instant(given: dt.datetime | None, field: str) -> dt.datetime | None:
    if given is None:
        return None
    try:
        return (given if given.tzinfo is not None else given.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except OverflowError:
        raise InvalidArgument(f"{given.isoformat()} is out of the years 1 to 9999 in UTC", field=field) from None


def _length(given: float | None, field: str) -> float | None:
    if given is None:
        return None
    if not math.isfinite(given) or not 0 <= given <= MAX_DURATION_SECONDS:
        raise InvalidArgument(
            f"{field} {given!r} is no length in seconds, 0 to {MAX_DURATION_SECONDS:.0f}", field=field
        )
    return given


def _timestamp(at: dt.datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    whole, nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)
