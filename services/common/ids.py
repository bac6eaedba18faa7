"""Identifiers and where they route."""

from __future__ import annotations

import re
import zlib
from typing import Final

from ulid import ULID

SLOTS: Final = 256
"""Slots a video can fall into; fixed for ever, since subjects and tables are written with it."""

_VIDEO_ID = re.compile(r"vid_[0-9a-hjkmnp-tv-z]{26}")


def new_video_id() -> str:
    """Gives a new video id: `vid_` and a lower-case ULID, so that ids sort by time of creation."""
    return f"vid_{str(ULID()).lower()}"


def is_video_id(text: str) -> bool:
    """Says whether `text` has the form of a video id."""
    return _VIDEO_ID.fullmatch(text) is not None


def slot_of(video_id: str) -> int:
    """Gives the slot of a video, 0 to `SLOTS - 1`; all its chunks live there."""
    return zlib.crc32(video_id.encode()) % SLOTS


def slice_id(index: int) -> str:
    """Gives the id of the slice at position `index` of its video; ids sort by time."""
    return f"{index:05d}"


def chunk_id(video_id: str, slice_id: str, number: int) -> str:
    """Gives the id of the chunk at position `number` of its slice."""
    return f"{video_id}/{slice_id}/{number:04d}"
