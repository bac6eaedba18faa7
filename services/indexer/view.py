"""What a search sees: the parts of the shard and their living rows, as they were at one moment."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from services.indexer.chunks import Filter
from services.indexer.head import Head
from services.indexer.rows import Rows
from services.indexer.segment import Segment
from services.indexer.videos import VideoTable

Part = Head | Segment

_REMEMBERED = 64
_MOST_IDS_REMEMBERED = 1000
"""A filter that names more videos is worked out each time: it takes megabytes, and hardly comes again."""
ROW_BITS = 32


class PartView(NamedTuple):
    """A part and which of its rows live. Rows beyond `alive` came later."""

    part: Part
    alive: Rows

    @property
    def deleted(self) -> int:
        """Rows that are dead."""
        return len(self.alive.mask) - self.alive.count


@dataclass(frozen=True, slots=True)
class View:
    """The shard at one moment. Never changes: a change of the shard makes another.

    Attributes:
        parts: The parts, the oldest first, the head last.
        model_revision: Model of the vectors; empty while there are none.
        dimension: Length of the vectors; 0 while there are none.
    """

    parts: tuple[PartView, ...] = ()
    model_revision: str = ""
    dimension: int = 0

    @property
    def chunk_count(self) -> int:
        """Living rows."""
        return sum(part.alive.count for part in self.parts)

    def part(self, serial: int) -> PartView:
        """Gives a part by its serial number."""
        return next(view for view in self.parts if view.part.serial == serial)


class Selector:
    """Works out which rows a search may find, and remembers it: the same filters come again and again.

    Args:
        videos: The shard's videos.
    """

    def __init__(self, videos: VideoTable) -> None:
        self._videos = videos
        self._lock = Lock()
        self._remembered: OrderedDict[tuple[Filter, frozenset[int] | None, int], tuple[int, Rows, Rows]] = OrderedDict()

    def select(self, view: View, chosen: Filter, slots: frozenset[int] | None) -> list[Rows | None]:
        """Gives, for every part of a view, the rows that a filter lets through in some slots; None means all."""
        if chosen.passes_all and slots is None:
            return [_everything(part) for part in view.parts]
        return [self._select(part, chosen, slots) for part in view.parts]

    def _select(self, view: PartView, chosen: Filter, slots: frozenset[int] | None) -> Rows:
        key = (chosen, slots, view.part.serial)
        version = self._videos.version
        with self._lock:
            known = self._remembered.get(key)
            if known is not None and known[0] == version and known[1] is view.alive:
                self._remembered.move_to_end(key)
                return known[2]
        selection = self._work_out(view, chosen, slots)
        if len(chosen.video_ids) > _MOST_IDS_REMEMBERED:
            return selection
        with self._lock:
            self._remembered[key] = (version, view.alive, selection)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return selection

    def _work_out(self, view: PartView, chosen: Filter, slots: frozenset[int] | None) -> Rows:
        part, size = view.part, len(view.alive.mask)
        mask = view.alive.mask
        videos = self._videos.select(chosen, slots)
        if videos is not None:
            mask = mask & part.rows_of(videos)[:size]
        if chosen.language or chosen.speakers:
            mask = mask & part.spoken(chosen.language, chosen.speakers)[:size]
        return Rows(mask)


def _everything(view: PartView) -> Rows | None:
    # The head goes on growing: only the mask says which of its rows belong to this view.
    return None if view.deleted == 0 and isinstance(view.part, Segment) else view.alive
