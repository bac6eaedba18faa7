"""The next page of a ranking that may have changed since the page before.

A cursor remembers the videos that were shown, so whatever happens to the ranking, no video comes twice and none that
was there all the time is passed over. A cursor has to stay small, so after `MAX_SEEN` videos the best ranked are
forgotten and the place of the others stands for them:

    forgotten │ remembered │ not shown yet
    ──────────┼─────┼──────┼──────────────▶ rank
                    └ whatever comes before the middle of what is remembered counts as shown

Then a video is shown twice, or passed over, only when it moves by half of what is remembered against the others
between two pages. From there on every page looks equally deep, since with depth ranks change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.gateway.cursor import SearchCursor, seen_id

MAX_SEEN = 600
"""Videos a cursor remembers: it has then about 5,000 characters, which fits into a URL everywhere."""


class Page(NamedTuple):
    """What to show, and how to go on."""

    places: list[int]
    """Places in the ranking."""
    cursor: SearchCursor | None
    """Where the next page begins; None after the last."""


def take(
    ranking: Sequence[str],
    cursor: SearchCursor,
    *,
    limit: int,
    level: int,
    deeper: int | None,
    deepest: int,
    applied: Mapping[int, int],
    max_seen: int = MAX_SEEN,
) -> Page:
    """Takes the next videos.

    Args:
        ranking: Ids of the videos found, best first.
        cursor: Where the page begins.
        limit: Videos to take at most.
        level: How deep this ranking was looked for.
        deeper: The next level, where looking deeper may find more; None where it cannot.
        deepest: The last level.
        applied: Stream sequence that each shard's answer had applied.
        max_seen: Videos to remember.
    """
    ids = [seen_id(video_id) for video_id in ranking] if cursor.seen else []  # on first pages nobody needs them
    first = _first_not_forgotten(ids, cursor)
    fresh = [place for place in range(first, len(ids)) if ids[place] not in cursor.seen] if ids else range(len(ranking))
    page = list(fresh[:limit])
    if len(fresh) <= limit and deeper is None:
        return Page(page, None)
    seen = cursor.seen.union(seen_id(ranking[place]) for place in page)
    going_on = level if len(fresh) > limit else deeper or level
    if len(seen) + limit > max_seen:
        going_on = max(going_on, deepest)  # while all that was shown is still remembered
    if len(seen) > max_seen:
        seen = _worst(seen, ids or [seen_id(video_id) for video_id in ranking], max_seen)
    return Page(page, SearchCursor(going_on, cursor.shown + len(page), seen, applied))


def _first_not_forgotten(ids: Sequence[bytes], cursor: SearchCursor) -> int:
    """Gives the place before which everything counts as shown."""
    if cursor.shown <= len(cursor.seen):
        return 0
    places = [place for place, video in enumerate(ids) if video in cursor.seen]
    return places[len(places) // 2] if places else min(cursor.shown, len(ids))


def _worst(seen: frozenset[bytes], ids: Sequence[bytes], count: int) -> frozenset[bytes]:
    """Chooses whom to remember: the worst ranked, and, up to half, who is not in the ranking just now."""
    place_of = {video: place for place, video in enumerate(ids)}
    away = sorted(video for video in seen if video not in place_of)[: count // 2]
    placed = sorted((video for video in seen if video in place_of), key=place_of.__getitem__, reverse=True)
    return frozenset([*away, *placed[: count - len(away)]])
