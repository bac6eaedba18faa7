"""The videos of a shard: what is true of each, and which of them a filter lets through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from services.common.ids import SLOTS, slot_of
from services.indexer.chunks import Filter, VideoInfo
from services.indexer.rows import Mask

NOBODY = 0
"""Number that stands for a video that has no chunks here."""

Numbers = npt.NDArray[np.int32]


class VideoTable:
    """Videos by number, with columns to filter by. One thread changes it, any number select from it.

    A number is given once; a video that loses its last chunk loses its number with it.
    """

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change that a selection could see."""
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = [""]
        self._infos: list[VideoInfo] = [VideoInfo()]
        self._live: list[int] = [0]
        self._collections: dict[str, int] = {"": 0}
        self._tagged: defaultdict[str, set[int]] = defaultdict(set)
        self._uploaded = np.zeros(64, np.float64)
        self._duration = np.zeros(64, np.float64)
        self._collection = np.zeros(64, np.int32)
        self._slot = np.zeros(64, np.int16)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._numbers))

    def number(self, video_id: str) -> int:
        """Gives the number of a video, NOBODY when it has no chunks here."""
        return self._numbers.get(video_id, NOBODY)

    def info(self, video_id: str) -> VideoInfo:
        """Gives what is true of a video; of one that has no chunks here, nothing."""
        return self._infos[self._numbers.get(video_id, NOBODY)]

    def title(self, number: int) -> str:
        """Gives the title of a video by number."""
        return self._infos[number].title

    def video_id(self, number: int) -> str:
        """Gives the id of a video by number."""
        return self._ids[number]

    def in_slots(self, slots: Iterable[int]) -> list[str]:
        """Gives the videos of some slots."""
        wanted = frozenset(slots)
        return [video_id for video_id, number in self._numbers.items() if int(self._slot[number]) in wanted]

    def put(self, video_id: str, info: VideoInfo) -> int:
        """Says what is true of a video and gives its number, a new one if it had none."""
        number = self._numbers.get(video_id)
        if number is None:
            number = len(self._ids)
            self._grow(number)
            self._infos.append(VideoInfo())
            self._live.append(0)
            self._slot[number] = slot_of(video_id)
            self._set(number, info)
            self._ids.append(video_id)  # after the columns: a selection takes their length from here
            self._numbers[video_id] = number
            self.version += 1
        elif self._infos[number] != info:
            self._set(number, info)
            self.version += 1
        return number

    def count(self, numbers: Numbers, change: int) -> None:
        """Counts chunks that came (`change` 1) or went (-1), one a number; a video without any is forgotten."""
        for number, times in zip(*np.unique(numbers, return_counts=True), strict=True):
            self._live[number] += change * int(times)
            if self._live[number] == 0:
                self._forget(int(number))

    def forget_empty(self, numbers: Iterable[int]) -> None:
        """Forgets those of some videos that were put and of which no chunk came."""
        for number in numbers:
            if self._live[number] == 0:
                self._forget(number)

    def select(self, chosen: Filter, slots: frozenset[int] | None) -> Mask | None:
        """Gives which video numbers pass a filter and are in `slots`; None when all do."""
        if not chosen.of_videos and slots is None:
            return None
        size = len(self._ids)
        if chosen.video_ids:
            mask = np.zeros(size, np.bool_)
            numbers = [self._numbers.get(video_id, NOBODY) for video_id in chosen.video_ids]
            mask[[number for number in numbers if number < size]] = True
        else:
            mask = np.ones(size, np.bool_)
        if slots is not None:
            wanted = np.zeros(SLOTS, np.bool_)
            wanted[list(slots)] = True
            mask &= wanted[self._slot[:size]]
        if chosen.collections:
            codes = [self._collections[name] for name in chosen.collections if name in self._collections]
            mask &= np.isin(self._collection[:size], codes)
        if chosen.uploaded_since is not None:
            mask &= self._uploaded[:size] >= chosen.uploaded_since
        if chosen.uploaded_before is not None:
            mask &= self._uploaded[:size] < chosen.uploaded_before
        # A length that is not known is NaN, which is neither long nor short.
        if chosen.min_duration is not None:
            mask &= self._duration[:size] >= chosen.min_duration
        if chosen.max_duration is not None:
            mask &= self._duration[:size] <= chosen.max_duration
        for tag in chosen.tags:
            tagged = np.zeros(size, np.bool_)
            tagged[[number for number in list(self._tagged.get(tag, ())) if number < size]] = True
            mask &= tagged
        mask[NOBODY] = False
        return mask

    def _set(self, number: int, info: VideoInfo) -> None:
        before = self._infos[number]
        for tag in before.tags:
            self._tagged[tag].discard(number)
            if not self._tagged[tag]:
                del self._tagged[tag]
        for tag in info.tags:
            self._tagged[tag].add(number)
        self._infos[number] = info
        self._uploaded[number] = info.uploaded_at
        self._duration[number] = np.nan if info.duration is None else info.duration
        self._collection[number] = self._collections.setdefault(info.collection, len(self._collections))

    def _forget(self, number: int) -> None:
        self._set(number, VideoInfo())
        del self._numbers[self._ids[number]]
        self._ids[number] = ""
        self.version += 1

    def _grow(self, number: int) -> None:
        if number < len(self._uploaded):
            return
        # New arrays, never resized ones: a selection under way still reads the old.
        for name in ("_uploaded", "_duration", "_collection", "_slot"):
            before = getattr(self, name)
            after = np.zeros(2 * len(before), before.dtype)
            after[: len(before)] = before
            setattr(self, name, after)
