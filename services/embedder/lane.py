"""A lane: one bounded queue, one thread, one instance of the model. Texts of concurrent callers share batches."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from services.common.errors import DeadlineExceeded, EarmarkError, Overloaded, Unavailable
from services.common.executor import BoundedExecutor
from services.embedder import metrics
from services.embedder.model import EmbeddingModel, TextKind, Vectors

log = structlog.get_logger()

MIN_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """How a lane queues and batches.

    Attributes:
        queue: Texts that may wait.
        window: Texts taken from the queue at once, and sorted by length: batches of like lengths have little padding.
        batch: Texts of one batch.
        batch_characters: Characters of one batch when all its texts were as long as the longest; a text longer than
            that goes alone. Keeps one very long text from holding up short ones.
        niceness: How much the thread yields to others of this machine.
    """

    queue: int
    window: int
    batch: int = 8
    batch_characters: int
    niceness: int = 0


@dataclass(eq=False, slots=True)
class _Request:
    """Texts of one caller, and the vectors there are so far."""

    texts: Sequence[str]
    deadline: float | None
    answer: asyncio.Future[list[Vectors]]
    vectors: list[Vectors | None] = field(default_factory=list)
    missing: int = 0

    def is_wanted(self, now: float) -> bool:
        """Whether someone still waits; one whose deadline has passed is told so."""
        if self.answer.done():
            return False
        if self.deadline is not None and now >= self.deadline:
            self.answer.set_exception(
                DeadlineExceeded("the text was not embedded in time; give the call a later deadline, or try again")
            )
            return False
        return True


_Item = tuple[_Request, int]


class Lane:
    """Embeds texts of one kind, in the order asked.

    Args:
        kind: What the texts are for.
        prepare: Done before `load`, on the event loop.
        load: Loads the lane's own instance of the model; called in the lane's thread.
        limits: How it queues and batches.
    """

    def __init__(
        self,
        kind: TextKind,
        *,
        prepare: Callable[[], Awaitable[None]],
        load: Callable[[], EmbeddingModel],
        limits: LaneLimits,
    ) -> None:
        self._kind = kind
        self._prepare = prepare
        self._load = load
        self._limits = limits
        self._queue: deque[_Item] = deque()
        self._filled = asyncio.Event()
        self._ended = False
        self._seconds_per_text = 0.01
        self._model: EmbeddingModel | None = None
        self._loaded = asyncio.Event()

    @property
    def model(self) -> EmbeddingModel | None:
        """The model, once it is loaded."""
        return self._model

    async def loaded(self) -> EmbeddingModel:
        """Waits for the model and gives it."""
        await self._loaded.wait()
        assert self._model is not None
        return self._model

    async def embed(self, texts: Sequence[str], *, deadline: float | None = None) -> list[Vectors]:
        """Embeds texts and gives a vector, float32 (dimension,), for each.

        Args:
            texts: At least one.
            deadline: Loop time after which nobody wants the vectors.

        Raises:
            Overloaded: The queue is full.
            DeadlineExceeded: The deadline passed.
            Unavailable: The model is not loaded yet, or the service stops.
        """
        if self._model is None or self._ended:
            raise Unavailable("the embedding model is not loaded yet; try again shortly", retry_after_seconds=1)
        kind, started = self._kind.value, time.perf_counter()
        waiting = len(self._queue)
        if waiting + len(texts) > self._limits.queue:
            metrics.REFUSED.labels(kind).inc(len(texts))
            raise Overloaded(
                f"{waiting} {kind} texts wait to be embedded; try again later",
                retry_after_seconds=max(round(waiting * self._seconds_per_text, 2), MIN_RETRY_SECONDS),
            )
        loop = asyncio.get_running_loop()
        request = _Request(texts, deadline, loop.create_future(), [None] * len(texts), len(texts))
        self._queue.extend((request, index) for index in range(len(texts)))
        metrics.QUEUE.labels(kind).set(len(self._queue))
        self._filled.set()
        vectors = await request.answer
        metrics.SECONDS.labels(kind).observe(time.perf_counter() - started)
        return vectors

    async def run(self) -> None:
        """Loads the model, then embeds for ever. When it ends, those who wait get an error."""
        executor = BoundedExecutor(f"embed-{self._kind}", threads=1, queue=0)
        window: list[_Item] = []
        try:
            started = time.perf_counter()
            await self._prepare()
            self._model = model = await executor.run(self._load_in_thread)
            self._loaded.set()
            log.info(
                "model_loaded",
                kind=self._kind.value,
                model=model.model_revision,
                dimension=model.dimension,
                seconds=round(time.perf_counter() - started, 3),
            )
            while True:
                await self._filled.wait()
                window = self._take()
                for batch in self._batches(window):
                    await self._embed_batch(executor, model, batch)
        finally:
            self._ended = True
            executor.close()
            stopped = Unavailable("the embedder stops; try again, another one answers")
            for request, _ in itertools.chain(window, self._queue):
                if not request.answer.done():
                    request.answer.set_exception(stopped)
            self._queue.clear()

    def _load_in_thread(self) -> EmbeddingModel:
        # Linux gives each thread its own niceness, and those that the model starts inherit it.
        if self._limits.niceness and sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._limits.niceness)
        return self._load()

    def _take(self) -> list[_Item]:
        count = min(len(self._queue), self._limits.window)
        window = [self._queue.popleft() for _ in range(count)]
        if not self._queue:
            self._filled.clear()
        metrics.QUEUE.labels(self._kind.value).set(len(self._queue))
        # Stable: texts of one length stay in the order asked.
        window.sort(key=_length)
        return window

    def _batches(self, window: list[_Item]) -> list[list[_Item]]:
        """Cuts a window, shortest text first, into batches."""
        batches: list[list[_Item]] = []
        for item in window:
            fits = (
                batches
                and len(batches[-1]) < self._limits.batch
                and (len(batches[-1]) + 1) * _length(item) <= self._limits.batch_characters
            )
            if fits:
                batches[-1].append(item)
            else:
                batches.append([item])
        return batches

    async def _embed_batch(self, executor: BoundedExecutor, model: EmbeddingModel, batch: list[_Item]) -> None:
        kind = self._kind.value
        now = asyncio.get_running_loop().time()
        wanted = [item for item in batch if item[0].is_wanted(now)]
        metrics.SKIPPED.labels(kind).inc(len(batch) - len(wanted))
        if not wanted:
            return
        texts = [request.texts[index] for request, index in wanted]
        started = time.perf_counter()
        try:
            vectors = await executor.run(model.embed, texts, self._kind)
        except Exception as error:
            log.exception("embedding_failed", kind=kind, texts=len(texts))
            for request, _ in wanted:
                if not request.answer.done():
                    request.answer.set_exception(_given_to_callers(error))
            return
        seconds = time.perf_counter() - started
        metrics.COMPUTE_SECONDS.labels(kind).observe(seconds)
        metrics.BATCH.labels(kind).observe(len(texts))
        self._seconds_per_text += 0.1 * (seconds / len(texts) - self._seconds_per_text)
        for (request, index), vector in zip(wanted, vectors, strict=True):
            request.vectors[index] = vector
            request.missing -= 1
            if request.missing == 0 and not request.answer.done():
                request.answer.set_result([v for v in request.vectors if v is not None])


def _length(item: _Item) -> int:
    request, index = item
    return len(request.texts[index])


class EmbeddingFailed(EarmarkError):
    """The model broke on a batch."""

    reason = "EMBEDDING_FAILED"
    code = "INTERNAL"
    transient = True


def _given_to_callers(error: Exception) -> EmbeddingFailed:
    """Gives a fresh error for one caller: an exception raised in several tasks would collect their tracebacks."""
    failure = EmbeddingFailed("the embedding model failed on this text; the embedder's log says why")
    failure.__cause__ = error
    return failure
