"""The pictures of videos, as they were made beside the slicer: found by time, cut out of what is stored, never decoded.

They lie one after the other in one object for each size, with an index beside (`transcriber/pictures.py` writes them),
so that a picture costs a read of a few kilobytes. A name is given to each set that is made, and nothing under it ever
changes: indexes are kept in memory, and browsers keep pictures for good.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from services.common.errors import InvalidArgument, NotFound, ObjectNotFound
from services.common.objects import pictures_prefix
from services.common.videos.model import PictureSet, Video
from services.gateway.access.caller import link
from services.gateway.captions import timestamp
from services.gateway.versions import versioned

INDEXES = 256
"""Indexes kept in memory, each of at most some 40 kB."""
_POSTER_SHARE = 0.1
_SLACK_SECONDS = 0.05
_RETRY_SECONDS = 5


class Videos(Protocol):
    """The documents."""

    async def want_pictures(self, video_id: str) -> bool:
        """Has pictures made of a video that has none yet."""
        ...


class Library(Protocol):
    """The videos there are for whoever calls."""

    async def present(self, video_id: str) -> Video:
        """Gives a video that is not being deleted. Raises VideoNotFound."""
        ...


class Objects(Protocol):
    """The bytes."""

    async def get(self, key: str) -> bytes:
        """Gives a whole object. Raises ObjectNotFound."""
        ...

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Gives the bytes `start` to `end` (exclusive). Raises ObjectNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Something to show, and what tells it from any other."""

    body: bytes
    etag: str
    made_of: str
    """Name of the set, which says when it was made."""


@dataclass(frozen=True, slots=True)
class _Index:
    times: Sequence[float]
    sizes: Sequence[tuple[int, Sequence[int]]]
    """Longest side, and where each picture begins in its object; one more at the end."""
    tile: tuple[int, int]
    columns: int
    rows: int

    @classmethod
    def read(cls, data: bytes) -> _Index:
        """Reads `index.json`."""
        fields: dict[str, Any] = orjson.loads(data)
        tile = fields["tile"]
        return cls(
            fields["times"],
            [(size["longest"], size["offsets"]) for size in fields["sizes"]],
            (tile["width"], tile["height"]),
            tile["columns"],
            tile["rows"],
        )


class Pictures:
    """The pictures of videos.

    Args:
        library: The videos.
        videos: Their documents, to have pictures made where there are none yet.
        objects: Where the pictures are.
    """

    def __init__(self, *, library: Library, videos: Videos, objects: Objects) -> None:
        self._library = library
        self._videos = videos
        self._objects = objects
        self._indexes: OrderedDict[str, _Index] = OrderedDict()

    async def at(self, video_id: str, seconds: float | None, width: int) -> Picture:
        """Gives what is to be seen at a time, as a JPEG: the last picture at or before it.

        Args:
            video_id: The video.
            seconds: Time in the media; None for one that stands for the whole.
            width: Pixels it is shown at; the smallest kept that is as large is given, or else the largest.

        Raises:
            VideoNotFound: There is no such video.
            NotFound: It has no pictures, or not yet.
        """
        video, made, index = await self._found(video_id)
        if seconds is None:
            seconds = index.times[-1] * _POSTER_SHARE
        place = max(bisect_right(index.times, seconds + _SLACK_SECONDS) - 1, 0)
        longest, offsets = next((size for size in index.sizes if size[0] >= width), index.sizes[-1])
        key = f"{pictures_prefix(video.video_id, made.name)}{longest}.jpgs"
        try:
            parts = [block async for block in self._objects.stream(key, offsets[place], offsets[place + 1])]
        except ObjectNotFound:  # made anew, or deleted, since the document was read
            raise _none(video_id, "its pictures are being made anew; ask again", retry=True) from None
        return Picture(b"".join(parts), f"{made.name}-{longest}-{place}", made.name)

    async def track(self, video_id: str) -> Picture:
        """Gives a WebVTT track that says which part of which sheet shows what is to be seen when.

        Raises:
            VideoNotFound: There is no such video.
            NotFound: It has no pictures, or not yet.
        """
        video, made, index = await self._found(video_id)
        width, height = index.tile
        a_sheet = index.columns * index.rows
        end = max(video.duration or 0.0, index.times[-1] + 1)
        path = versioned(f"/videos/{video.video_id}/")
        lines = ["WEBVTT", ""]
        for place, start in enumerate(index.times):
            until = index.times[place + 1] if place + 1 < len(index.times) else end
            on = place % a_sheet
            # Relative, so that it holds behind whatever a proxy puts in front; signed where it has to be.
            name = link(f"{path}sprites/{place // a_sheet}.jpg").removeprefix(path)
            where = f"{on % index.columns * width},{on // index.columns * height},{width},{height}"
            lines += [f"{timestamp(0.0 if place == 0 else start)} --> {timestamp(until)}", f"{name}#xywh={where}", ""]
        return Picture("\n".join(lines).encode(), f"{made.name}-track", made.name)

    async def sheet(self, video_id: str, number: int) -> Picture:
        """Gives a sheet of small pictures, as a JPEG.

        Raises:
            VideoNotFound: There is no such video.
            NotFound: It has no pictures, or fewer sheets.
        """
        video, made, _ = await self._found(video_id)
        try:
            body = await self._objects.get(f"{pictures_prefix(video.video_id, made.name)}sheet-{number}.jpg")
        except ObjectNotFound:
            raise _none(video_id, f"it has no sheet {number}; `sprites.vtt` names those there are") from None
        return Picture(body, f"{made.name}-sheet-{number}", made.name)

    async def _found(self, video_id: str) -> tuple[Video, PictureSet, _Index]:
        video = await self._library.present(video_id)
        made = video.pictures
        if made is None:
            if not video.has_media:
                raise _none(video_id, "it was made of a transcript, and there is nothing to see")
            if video.source is not None:
                await self._videos.want_pictures(video_id)
            raise _none(video_id, "pictures of it are still to be made; ask again shortly", retry=True)
        if not made.name:
            why = {"NO_PICTURE": "there is nothing to see in it"}.get(made.reason, f"none could be made: {made.reason}")
            raise _none(video_id, why)
        index = self._indexes.get(made.name)
        if index is None:
            try:
                index = _Index.read(await self._objects.get(f"{pictures_prefix(video_id, made.name)}index.json"))
            except ObjectNotFound:
                raise _none(video_id, "its pictures are being made anew; ask again", retry=True) from None
            self._indexes[made.name] = index
            if len(self._indexes) > INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(made.name)
        return video, made, index


def checked_seconds(text: str) -> float | None:
    """Reads `t`: seconds in the media, None where it is empty. Raises InvalidArgument."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 10_000_000:
        raise InvalidArgument(f"t {text[:32]!r} is no time; give seconds from 0 on, such as 83.2", field="t")
    return seconds


def _none(video_id: str, why: str, *, retry: bool = False) -> NotFound:
    return NotFound(
        f"there is no picture of {video_id}: {why}",
        reason="NO_PICTURE",
        metadata={"video_id": video_id},
        retry_after_seconds=_RETRY_SECONDS if retry else None,
    )
