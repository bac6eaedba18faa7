"""Opaque cursors, bound to what they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.common.errors import InvalidArgument
from services.common.ids import SLOTS

_VERSION = 1
_SEARCH_VERSION = 2
_BOUND_BYTES = 8
_SEEN_BYTES = 6


def fingerprint(*parts: object) -> bytes:
    """Returns 8 bytes that stand for a query with its filter."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=_BOUND_BYTES).digest()


def seen_id(video_id: str) -> bytes:
    """Returns 6 bytes that stand for a video in a cursor."""
    return hashlib.blake2b(video_id.encode(), digest_size=_SEEN_BYTES).digest()


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """Where a search goes on.

    The shown videos themselves, not only their number: the index changes between two pages and fused ranks change with
    depth, and still no video comes twice and none is passed over (`paging.py`).

    Attributes:
        level: How deep the page before looked.
        shown: How many videos the pages before showed.
        seen: Those of them that are remembered.
        applied: Stream sequence that the answer of each shard had applied: the next page comes from none that is
            further back.
    """

    level: int = 0
    shown: int = 0
    seen: frozenset[bytes] = frozenset()
    applied: Mapping[int, int] = field(default_factory=dict)

    def encode(self, bound: bytes) -> str:
        """Returns the cursor as text, for use with the query that has the fingerprint `bound`."""
        # Replicas are mostly about as far as each other: their sequences are short above the least of them.
        least = min(self.applied.values(), default=0)
        numbers = [min(self.level, 255), self.shown, len(self.applied), least]
        for shard, sequence in sorted(self.applied.items()):
            numbers += [shard, sequence - least]
        return _encode(bytes([_SEARCH_VERSION]) + bound + _varints(numbers) + b"".join(sorted(self.seen)))

    @classmethod
    def decode(cls, text: str, bound: bytes) -> SearchCursor:
        """Reads a cursor.

        Raises:
            InvalidArgument: It is not one of ours, or was made for another query or filter.
        """
        if not text:
            return cls()
        raw = _decode(text)
        head = 1 + _BOUND_BYTES
        if len(raw) < head or raw[0] != _SEARCH_VERSION:
            raise _refused("is not one of ours")
        if raw[1:head] != bound:
            raise _refused("belongs to another query or filter")
        reader = _Reader(raw, head)
        level, shown, shards, least = (reader.varint() for _ in range(4))
        if shards > SLOTS:
            raise _refused("is not one of ours")
        applied = {reader.varint(): least + reader.varint() for _ in range(shards)}
        rest = raw[reader.at :]
        if len(rest) % _SEEN_BYTES or level > 255 or max(applied.values(), default=0) >= 2**64:
            raise _refused("is not one of ours")
        seen = frozenset(rest[at : at + _SEEN_BYTES] for at in range(0, len(rest), _SEEN_BYTES))
        return cls(level, shown, seen, applied)


class _Reader:
    """Reads numbers off a cursor. Raises InvalidArgument where there is none."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self.at = at

    def varint(self) -> int:
        """Gives the next number."""
        value = 0
        for shift in range(0, 70, 7):
            if self.at >= len(self._raw):
                break
            byte = self._raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _refused("is not one of ours")


def _varints(numbers: Sequence[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        left = number
        while left >= 0x80:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
    return bytes(out)


def encode_position(position: str, bound: bytes) -> str:
    """Returns a cursor that goes on behind `position` in a list with the fingerprint `bound`."""
    return _encode(bytes([_VERSION]) + bound + position.encode())


def decode_position(text: str, bound: bytes) -> str:
    """Reads a cursor of a list; the empty one means the beginning.

    Raises:
        InvalidArgument: It is not one of ours, or was made for another filter.
    """
    if not text:
        return ""
    raw = _decode(text)
    head = 1 + _BOUND_BYTES
    if len(raw) <= head or raw[0] != _VERSION:
        raise _refused("is not one of ours")
    if raw[1:head] != bound:
        raise _refused("belongs to another filter")
    try:
        return raw[head:].decode()
    except UnicodeDecodeError:
        raise _refused("is not one of ours") from None


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("is not one of ours") from None


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"the cursor {why}; leave it out to begin again", field="cursor")
