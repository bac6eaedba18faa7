"""The batcher: a lane for queries beside one for passages, so that a query never waits for passages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from services.common.errors import Unavailable
from services.embedder.lane import Lane
from services.embedder.model import EmbeddingModel, TextKind, Vectors


class Batcher:
    """Embeds what callers ask for, in shared batches.

    Its lanes' `run` are to be run as tasks. Each lane has its own thread, model session and tokenizer.

    Args:
        queries: The lane of the queries.
        passages: The lane of the passages.
    """

    def __init__(self, *, queries: Lane, passages: Lane) -> None:
        self._lanes = {TextKind.QUERY: queries, TextKind.PASSAGE: passages}

    @property
    def tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What must run for this to work, by name."""
        return {f"{kind}-lane": lane.run for kind, lane in self._lanes.items()}

    @property
    def model(self) -> EmbeddingModel:
        """The model that answers. Raises Unavailable while it is not loaded."""
        model = self._lanes[TextKind.PASSAGE].model
        if model is None or self._lanes[TextKind.QUERY].model is None:
            raise Unavailable("the embedding model is not loaded yet; try again shortly", retry_after_seconds=1)
        return model

    async def loaded(self) -> EmbeddingModel:
        """Waits until both lanes have loaded the model, and gives it."""
        await self._lanes[TextKind.QUERY].loaded()
        return await self._lanes[TextKind.PASSAGE].loaded()

    async def is_ready(self) -> bool:
        """Whether both lanes have loaded the model."""
        return all(lane.model is not None for lane in self._lanes.values())

    async def embed(self, texts: Sequence[str], kind: TextKind, *, deadline: float | None = None) -> list[Vectors]:
        """Embeds texts and gives a vector, float32 (dimension,), for each.

        Args:
            texts: At least one.
            kind: What they are for.
            deadline: Loop time after which nobody wants the vectors.

        Raises:
            Overloaded: The queue is full.
            DeadlineExceeded: The deadline passed.
            Unavailable: The model is not loaded yet, or the service stops.
        """
        return await self._lanes[kind].embed(texts, deadline=deadline)
