"""How often a cache had what was asked for."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from services.gateway.cache.store import CacheStore

ASKED = Counter(
    "earmark_gateway_cache_total",
    "What caches were asked for: hit, miss, or changed (it was there, and no longer held).",
    ["cache", "outcome"],
)


class Counts:
    """Counts what a cache was asked for, for metrics and for operators.

    Args:
        cache: Its name.
        store: Where its values are.
    """

    def __init__(self, cache: str, store: CacheStore) -> None:
        self._store = store
        self._metrics = {outcome: ASKED.labels(cache, outcome) for outcome in ("hit", "miss", "changed")}
        self.counts = dict.fromkeys(self._metrics, 0)

    def note(self, outcome: str) -> None:
        """Notes a hit, a miss, or that something had changed."""
        self.counts[outcome] += 1
        self._metrics[outcome].inc()

    def shown(self) -> dict[str, Any]:
        """Gives the counts since the start, and the share of hits."""
        held, asked = self._store.held(), sum(self.counts.values())
        return {
            **self.counts,
            "hit_rate": round(self.counts["hit"] / asked, 4) if asked else None,
            "entries": held.entries,
            "bytes": held.bytes,
        }
