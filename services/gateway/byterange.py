"""Byte ranges of a request, as RFC 9110 (section 14) has them."""

from __future__ import annotations

import re
from typing import NamedTuple

from services.common.errors import EarmarkError

_RANGE = re.compile(r"bytes=\s*(\d{0,40})\s*-\s*(\d{0,40})\s*", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(EarmarkError):
    """The range begins behind the end."""

    reason = "RANGE_NOT_SATISFIABLE"
    code = "OUT_OF_RANGE"


class ByteRange(NamedTuple):
    """Bytes `start` to `end`, exclusive."""

    start: int
    end: int


def parse(header: str, size: int) -> ByteRange | None:
    """Reads a Range header for something of `size` bytes.

    Returns:
        The range; None when the whole is to be sent: there is no range, one of another unit, a malformed one, or
        several (which a server may answer with the whole).

    Raises:
        RangeNotSatisfiable: There is no such byte.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size
        if int(match[2]) == 0:
            start = size
    else:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(f"there are {size} bytes; ask for some of them", metadata={"size": str(size)})
    return ByteRange(start, end)
