"""How often a key may call: a token bucket for each."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from services.common.errors import RateLimited

BURST_SECONDS = 10
"""A key that was quiet may make so many seconds' requests at once: a page asks for a dozen things when it opens."""
_MOST_KEYS = 10_000


class Buckets:
    """A bucket for each key, of this process alone: of several gateways each lets a key make its number.

    Args:
        now: Seconds on a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str, per_second: float) -> None:
        """Takes a token for one request. Raises RateLimited when there is none, with the time until there is."""
        now = self._now()
        most = max(1.0, per_second * BURST_SECONDS)
        tokens, at = self._buckets.get(key_id, (most, now))
        tokens = min(most, tokens + (now - at) * per_second)
        enough = tokens >= 1
        self._buckets[key_id] = (tokens - 1 if enough else tokens, now)
        self._buckets.move_to_end(key_id)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        if not enough:
            raise RateLimited(
                f"this key may make {per_second:g} requests a second; wait before the next",
                metadata={"requests_per_second": f"{per_second:g}"},
                retry_after_seconds=(1 - tokens) / per_second,
            )
