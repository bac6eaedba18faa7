"""What a key may put in on a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Protocol

from services.common.api_keys import Usage
from services.common.errors import QuotaExceeded
from services.gateway.access.caller import Caller


class UsageStore(Protocol):
    """Where what was used is counted, for all gateways together."""

    async def use(
        self, key_id: str, day: dt.datetime, used: Usage, *, most_bytes: int | None, most_videos: int | None
    ) -> bool:
        """Adds to what a key has used of a day; False, and nothing added, when it would be too much."""
        ...

    async def used(self, key_id: str, day: dt.datetime) -> Usage:
        """Gives what a key has used of a day."""
        ...


class Quota:
    """Counts videos and bytes against a key's day, which begins at midnight UTC.

    Args:
        usage: Where it is counted.
        now: Says what time it is.
    """

    def __init__(self, *, usage: UsageStore, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._usage = usage
        self._now = now

    async def look(self, who: Caller, *, size: int = 0) -> None:
        """Refuses a video of `size` bytes before any of them is read, where it is clear already that it is too much.

        Raises:
            QuotaExceeded: The key has not as much left today.
        """
        if _unlimited(who):
            return
        used = await self._usage.used(who.key_id, self._day())
        if not (_fits(used.bytes + size, who.bytes_per_day) and _fits(used.videos + 1, who.videos_per_day)):
            raise self._exceeded(who, used)

    async def take(self, who: Caller, *, size: int = 0) -> None:
        """Counts a video of `size` bytes.

        Raises:
            QuotaExceeded: The key has not as much left today; nothing is counted.
        """
        if _unlimited(who):
            return
        day, asked = self._day(), Usage(size, 1)
        if not await self._usage.use(
            who.key_id, day, asked, most_bytes=who.bytes_per_day, most_videos=who.videos_per_day
        ):
            raise self._exceeded(who, await self._usage.used(who.key_id, day))

    async def give_back(self, who: Caller, *, size: int = 0) -> None:
        """Takes back what was counted for a video that did not come to be."""
        if not _unlimited(who):
            await self._usage.use(who.key_id, self._day(), Usage(-size, -1), most_bytes=None, most_videos=None)

    def _day(self) -> dt.datetime:
        return self._now().replace(hour=0, minute=0, second=0, microsecond=0)

    def _exceeded(self, who: Caller, used: Usage) -> QuotaExceeded:
        midnight = self._day() + dt.timedelta(days=1)
        limits = {"bytes_per_day": who.bytes_per_day, "videos_per_day": who.videos_per_day}
        told = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)
        return QuotaExceeded(
            f"that is more than this key may put in on a day ({told}); it begins anew at midnight UTC",
            metadata={
                "bytes_used": str(used.bytes),
                "videos_used": str(used.videos),
                **{name: str(limit) for name, limit in limits.items() if limit is not None},
            },
            retry_after_seconds=(midnight - self._now()).total_seconds(),
        )


def _unlimited(who: Caller) -> bool:
    return who.bytes_per_day is None and who.videos_per_day is None


def _fits(wanted: int, most: int | None) -> bool:
    return most is None or wanted <= most
