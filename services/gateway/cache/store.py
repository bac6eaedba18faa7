"""Where cached values are: in this process, or wherever else something keeps the Protocol."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds, as far as it knows."""

    entries: int | None
    bytes: int | None


class CacheStore(Protocol):
    """Bytes under keys, any of which may be gone at any time. Never raises because of its own troubles."""

    async def get(self, key: str) -> bytes | None:
        """Gives what was put under a key last; None where that is gone, or cannot be had just now."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Puts a value under a key, in place of what was there."""
        ...

    def held(self) -> Held:
        """Says how much there is."""
        ...

    async def close(self) -> None:
        """Lets go of what it holds on to."""
        ...


class MemoryStore:
    """Keeps values in this process; those not asked for the longest go first.

    Args:
        max_bytes: Bytes of keys and values at most.
        max_entries: Values at most.
    """

    _OVERHEAD = 200  # what a key, a value and their places take beside their bytes, about

    def __init__(self, *, max_bytes: int, max_entries: int) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        """Gives what was put under a key last; None where it is gone."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes) -> None:
        """Puts a value under a key. One that would take more than a quarter of all there is room for is not kept."""
        if (before := self._values.pop(key, None)) is not None:
            self._bytes -= self._size(key, before)
        if self._size(key, value) > self._max_bytes // 4:
            return
        self._values[key] = value
        self._bytes += self._size(key, value)
        while self._bytes > self._max_bytes or len(self._values) > self._max_entries:
            oldest, gone = self._values.popitem(last=False)
            self._bytes -= self._size(oldest, gone)

    def held(self) -> Held:
        """Says how much there is."""
        return Held(len(self._values), self._bytes)

    async def close(self) -> None:
        """Forgets everything."""
        self._values.clear()
        self._bytes = 0

    def _size(self, key: str, value: bytes) -> int:
        return len(key) + len(value) + self._OVERHEAD
