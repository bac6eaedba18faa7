"""What an index must do whatever finds its vectors, asked of a replica in this process or through gRPC."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from services.indexer.chunks import Chunk, Filter, VideoInfo
from tests.unit.indexer.builders import chunk, vector_of

VIDEOS = 40
CHUNKS_OF_A_VIDEO = 10
WORDS = ["apple", "pear", "plum", "quince"]
LOTS = 2


class Answer(NamedTuple):
    """A chunk found: its text and its scores."""

    text: str
    semantic: float | None
    keyword: float | None


class Index(Protocol):
    """An index as its callers see it. What was put and removed can be searched when the call returns."""

    async def put(self, chunks: Sequence[Chunk], infos: Mapping[str, VideoInfo]) -> None:
        """Adds chunks, with the vectors of their texts."""

    async def remove(self, video_id: str) -> None:
        """Removes a video."""

    async def search(
        self, *, text: str = "", near: str = "", k: int = 10, chosen: Filter | None = None
    ) -> dict[str, Answer]:
        """Searches; by chunk id."""

    async def kinds(self) -> list[str]:
        """Seals all there is, and gives the kind of each part that has chunks."""


def video_name(number: int) -> str:
    """The name of a video."""
    return f"vid_{number:02d}"


def info_of(number: int) -> VideoInfo:
    """What is true of a video."""
    return VideoInfo(
        f"Talk {number}",
        ["garden", "kitchen"][number % 2],
        ("red",) if number % 3 == 0 else (),
        1e9 + number,
        None if number == 7 else 60.0 * number,
    )


def lot(number: int) -> list[Chunk]:
    """Every second video."""
    return [
        chunk(
            video_name(video),
            f"{WORDS[n % 4]} {video} {n}",
            number=n,
            language=["en", "de"][n % 2],
            speaker=["Ann", "Bob", ""][n % 3],
        )
        for video in range(number, VIDEOS, LOTS)
        for n in range(CHUNKS_OF_A_VIDEO)
    ]


FILTERS: list[tuple[Filter, Callable[[Chunk, VideoInfo], bool]]] = [
    (Filter(frozenset({"vid_03", "vid_04", "vid_xx"})), lambda c, i: c.video_id in {"vid_03", "vid_04"}),
    (Filter(language="de"), lambda c, i: c.language == "de"),
    (Filter(speakers=frozenset({"Ann", "Eve"})), lambda c, i: c.speaker == "Ann"),
    (Filter(collections=frozenset({"garden"})), lambda c, i: i.collection == "garden"),
    (Filter(tags=frozenset({"red"})), lambda c, i: "red" in i.tags),
    (Filter(uploaded_since=1e9 + 30), lambda c, i: i.uploaded_at >= 1e9 + 30),
    (Filter(uploaded_before=1e9 + 2), lambda c, i: i.uploaded_at < 1e9 + 2),
    (Filter(min_duration=300.0, max_duration=480.0), lambda c, i: i.duration is not None and 300 <= i.duration <= 480),
    (
        Filter(language="en", speakers=frozenset({"Bob"}), collections=frozenset({"kitchen"}), max_duration=900.0),
        lambda c, i: (c.language, c.speaker, i.collection) == ("en", "Bob", "kitchen") and (i.duration or 1e9) <= 900,
    ),
    (Filter(frozenset({"vid_xx"})), lambda c, i: False),
]


class _Checker:
    def __init__(self, index: Index) -> None:
        self.index = index
        self.chunks: dict[str, Chunk] = {}
        self.infos: dict[str, VideoInfo] = {}

    async def put(self, chunks: Sequence[Chunk], infos: Mapping[str, VideoInfo]) -> None:
        await self.index.put(chunks, infos)
        self.chunks.update({item.chunk_id: item for item in chunks})
        self.infos.update(infos)

    async def remove(self, video_id: str) -> None:
        await self.index.remove(video_id)
        self.chunks = {key: item for key, item in self.chunks.items() if item.video_id != video_id}

    def cosines(self, near: str, chunks: Mapping[str, Chunk]) -> dict[str, float]:
        return {key: float(vector_of(near) @ vector_of(item.text)) for key, item in chunks.items()}

    async def nearest(self, near: str, k: int, which: Filter | None = None, *, recall: float) -> None:
        passes = next((passes for one, passes in FILTERS if one == which), lambda c, i: True)
        mine = {key: item for key, item in self.chunks.items() if passes(item, self.infos[item.video_id])}
        truth = self.cosines(near, mine)
        best = sorted(truth, key=lambda key: -truth[key])[:k]
        found = await self.index.search(near=near, k=k, chosen=which)
        assert found.keys() <= mine.keys(), which
        assert len(found) == min(k, len(mine)), which  # full, whatever was deleted or filtered out
        for key, answer in found.items():
            assert answer.text == self.chunks[key].text
            assert answer.semantic is not None
            assert np.isclose(answer.semantic, truth[key], atol=2e-3), (answer, truth[key])
        # By score, since two rounded vectors may be as near.
        scores = sorted((truth[key] for key in found), reverse=True)
        if 4 * len(mine) <= len(self.chunks):  # then all that may be found are compared
            recall = 1.0
        hits = sum(score >= truth[best[-1]] - 1e-3 for score in scores)
        assert hits >= recall * len(best), (which, hits, len(best))

    async def said(self, word: str, which: Filter | None = None) -> None:
        passes = next((passes for one, passes in FILTERS if one == which), lambda c, i: True)
        expected = {
            key
            for key, item in self.chunks.items()
            if word in item.text.split() and passes(item, self.infos[item.video_id])
        }
        found = await self.index.search(text=word, k=1000, chosen=which)
        assert found.keys() == expected, (word, which)
        assert all(answer.keyword is not None for answer in found.values())

    async def everything(self, recall: float) -> None:
        for number in range(6):
            await self.nearest(f"question {number}", 10, recall=recall)
        await self.nearest("question", 1000, recall=1.0)
        for word in WORDS:
            await self.said(word)
        for which, _ in FILTERS:
            await self.nearest("question", 10, which, recall=recall)
            await self.said("apple", which)


async def conforms(index: Index, kind: str) -> None:
    """Adds, seals, deletes and replaces, and asks in every way after each."""
    checker = _Checker(index)
    recall = 1.0 if kind == "flat" else 0.8
    for number in range(LOTS):
        await checker.put(lot(number), {video_name(n): info_of(n) for n in range(number, VIDEOS, LOTS)})
        assert set(await index.kinds()) == {kind}
    await checker.everything(recall)
    for number in range(0, VIDEOS, 5):
        await checker.remove(video_name(number))
    await checker.everything(recall)
    again = [chunk("vid_01", f"medlar {n}", number=n, language="de") for n in range(3)]
    await checker.put([*again, chunk("vid_05", "back again")], {"vid_01": info_of(1), "vid_05": info_of(2)})
    assert not await index.search(text='"apple 1 0"')
    assert (await index.search(text="medlar", k=1000)).keys() == {item.chunk_id for item in again}
    assert set(await index.kinds()) == {kind}
    await checker.everything(recall)
