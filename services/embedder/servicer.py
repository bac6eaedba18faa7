"""The embedder's gRPC service."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np

from earmark.internal.v1 import embedder_service_pb2 as pb
from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
from services.common.errors import InvalidArgument
from services.embedder.batcher import Batcher
from services.embedder.model import TextKind

MAX_TEXTS = 256
MAX_TEXT_BYTES = 32 * 1024

_KINDS: dict[int, TextKind] = {pb.TEXT_KIND_QUERY: TextKind.QUERY, pb.TEXT_KIND_PASSAGE: TextKind.PASSAGE}

Context = grpc.aio.ServicerContext[Any, Any]


class EmbedderServicer(pb_grpc.EmbedderServiceServicer):
    """Answers Embed and GetModel.

    Args:
        batcher: Embeds.
    """

    def __init__(self, *, batcher: Batcher) -> None:
        self._batcher = batcher

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:  # noqa: N802  # gRPC's name
        """Embeds texts; see the protocol."""
        kind = _checked_kind(request)
        model, deadline = self._batcher.model, _deadline(context)
        vectors = await self._batcher.embed(list(request.texts), kind, deadline=deadline)
        return pb.EmbedResponse(
            vectors=[vector.astype(np.dtype("<f4"), copy=False).tobytes() for vector in vectors],
            dimension=model.dimension,
            model_revision=model.model_revision,
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802, ARG002
        """Says which model answers; see the protocol."""
        model = self._batcher.model
        return pb.GetModelResponse(
            model_revision=model.model_revision, dimension=model.dimension, max_tokens=model.max_tokens
        )


def _deadline(context: Context) -> float | None:
    """Gives the loop time at which the caller stops waiting; None where it never does."""
    remaining = context.time_remaining()
    if remaining is None:
        return None
    return asyncio.get_running_loop().time() + remaining


def _checked_kind(request: pb.EmbedRequest) -> TextKind:
    """Gives what the texts are for. Raises InvalidArgument."""
    if not 1 <= len(request.texts) <= MAX_TEXTS:
        raise InvalidArgument(f"{len(request.texts)} texts; send 1 to {MAX_TEXTS} in a call", field="texts")
    for number, text in enumerate(request.texts):
        # A code point takes 4 bytes at most, so most texts need not be encoded to know.
        if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
            raise InvalidArgument(f"text {number} is over {MAX_TEXT_BYTES} bytes; cut it", field=f"texts[{number}]")
    kind = _KINDS.get(request.kind)
    if kind is None:
        raise InvalidArgument("kind is missing; set TEXT_KIND_QUERY or TEXT_KIND_PASSAGE", field="kind")
    return kind
