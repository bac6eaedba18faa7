"""The lanes: batches shared, order kept, bounded, and no work for those who left."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from services.common.errors import DeadlineExceeded, Overloaded, Unavailable
from services.embedder.batcher import Batcher
from services.embedder.hashing import HashEmbeddingModel
from services.embedder.lane import EmbeddingFailed, Lane, LaneLimits
from services.embedder.model import TextKind, Vectors
from tests.support import eventually

LIMITS = LaneLimits(queue=100, window=64, batch_characters=1000)
HASH = HashEmbeddingModel(16)


class GatedModel(HashEmbeddingModel):
    """The hash model, which notes each batch and waits for its gate before it answers."""

    def __init__(self) -> None:
        super().__init__(16)
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def embed(self, texts: Sequence[str], kind: TextKind) -> Vectors:
        self.batches.append(list(texts))
        assert self.gate.wait(30)
        if "poison" in texts:
            raise RuntimeError("the model broke")
        return super().embed(texts, kind)


async def nothing() -> None:
    """There is nothing to prepare."""


@asynccontextmanager
async def running(
    model: GatedModel, limits: LaneLimits = LIMITS, kind: TextKind = TextKind.PASSAGE
) -> AsyncIterator[Lane]:
    lane = Lane(kind, prepare=nothing, load=lambda: model, limits=limits)
    task = asyncio.create_task(lane.run())
    await lane.loaded()
    try:
        yield lane
    finally:
        model.gate.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def held(model: GatedModel, count: int = 1) -> Callable[[], bool]:
    """Whether the model is at its `count`-th batch."""
    return lambda: len(model.batches) == count


async def test_each_text_gets_its_own_vector_in_the_order_asked() -> None:
    model = GatedModel()
    async with running(model) as lane:
        texts = [f"{'word ' * (20 - n)} {n}" for n in range(20)]
        vectors = await lane.embed(texts)

    assert np.array_equal(np.stack(vectors), HASH.embed(texts, TextKind.PASSAGE))
    assert [len(batch) for batch in model.batches] == [8, 8, 4]
    lengths = [len(text) for batch in model.batches for text in batch]
    assert lengths == sorted(lengths)


async def test_concurrent_callers_share_a_batch() -> None:
    model = GatedModel()
    async with running(model) as lane:
        model.gate.clear()
        first = asyncio.create_task(lane.embed(["first"]))
        await eventually(held(model))
        others = [asyncio.create_task(lane.embed([f"other {n}"])) for n in range(5)]
        await asyncio.sleep(0)
        model.gate.set()
        answers = await asyncio.gather(first, *others)

    assert [len(batch) for batch in model.batches] == [1, 5]
    assert np.array_equal(answers[3][0], HASH.embed(["other 2"], TextKind.PASSAGE)[0])


async def test_a_long_text_does_not_hold_up_short_ones() -> None:
    model = GatedModel()
    async with running(model) as lane:
        await lane.embed(["x" * 900, "short", "brief", "y" * 900])
    assert model.batches == [["short", "brief"], ["x" * 900], ["y" * 900]]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    model = GatedModel()
    async with running(model, LaneLimits(queue=3, window=8, batch_characters=1000)) as lane:
        model.gate.clear()
        running_now = asyncio.create_task(lane.embed(["running"]))
        await eventually(held(model))
        waiting = asyncio.create_task(lane.embed(["a", "b"]))
        await asyncio.sleep(0)

        with pytest.raises(Overloaded) as refused:
            await lane.embed(["c", "d"])
        assert refused.value.retry_after_seconds is not None
        assert refused.value.retry_after_seconds > 0

        fits = asyncio.create_task(lane.embed(["c"]))
        model.gate.set()
        assert len(await fits) == 1
        await asyncio.gather(running_now, waiting)


async def test_work_nobody_awaits_is_not_done() -> None:
    model = GatedModel()
    async with running(model) as lane:
        model.gate.clear()
        first = asyncio.create_task(lane.embed(["first"]))
        await eventually(held(model))
        gone = asyncio.create_task(lane.embed(["gone"]))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.01
        late = asyncio.create_task(lane.embed(["late"], deadline=deadline))
        await eventually(lambda: loop.time() > deadline)
        gone.cancel()
        last = asyncio.create_task(lane.embed(["last"]))
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, last)

        with pytest.raises(DeadlineExceeded):
            await late
    assert model.batches == [["first"], ["last"]]


async def test_a_query_does_not_wait_for_passages() -> None:
    slow, quick = GatedModel(), GatedModel()
    async with running(slow) as passages, running(quick, kind=TextKind.QUERY) as queries:
        batcher = Batcher(queries=queries, passages=passages)
        slow.gate.clear()
        passage = asyncio.create_task(batcher.embed(["a passage"] * 50, TextKind.PASSAGE))
        await eventually(held(slow))

        await asyncio.wait_for(batcher.embed(["a query"], TextKind.QUERY), timeout=5)

        assert not passage.done()
        slow.gate.set()
        await passage


async def test_a_model_that_breaks_fails_that_batch_and_goes_on() -> None:
    model = GatedModel()
    async with running(model) as lane:
        with pytest.raises(EmbeddingFailed):
            await lane.embed(["poison"])
        assert len(await lane.embed(["fine"])) == 1


async def test_before_the_model_is_loaded_and_after_the_end_it_is_unavailable() -> None:
    model = GatedModel()
    unloaded = Lane(TextKind.QUERY, prepare=nothing, load=lambda: model, limits=LIMITS)
    with pytest.raises(Unavailable):
        await unloaded.embed(["text"])
    assert not await Batcher(queries=unloaded, passages=unloaded).is_ready()

    async with running(model) as lane:
        model.gate.clear()
        under_way = asyncio.create_task(lane.embed(["under way"]))
        await eventually(held(model))
        waiting = asyncio.create_task(lane.embed(["waiting"]))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await under_way
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await lane.embed(["too late"])


async def test_a_model_that_cannot_be_loaded_ends_the_lane() -> None:
    def load() -> HashEmbeddingModel:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        await Lane(TextKind.QUERY, prepare=nothing, load=load, limits=LIMITS).run()
