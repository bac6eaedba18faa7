"""What an embedding model is to the rest of the service."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""float32, shape (texts, dimension), each row of length 1."""


class TextKind(enum.StrEnum):
    """What a text is for. Some models put another prompt before each kind."""

    QUERY = "query"
    PASSAGE = "passage"


class EmbeddingModel(Protocol):
    """Turns texts into vectors. One instance is used by one thread at a time."""

    @property
    def model_revision(self) -> str:
        """Name and content of the model: vectors of different revisions must not meet."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a passage that are read, special tokens included and the prompt left out; the rest is cut off."""

    def embed(self, texts: Sequence[str], kind: TextKind) -> Vectors:
        """Embeds texts as one batch: float32, shape (len(texts), dimension), L2-normalised, in the order given."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of each text without special tokens; beyond `max_tokens` it need not count on."""
