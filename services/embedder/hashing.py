"""An embedding model that is only arithmetic: for tests, and for meshes that have no model.

Texts that share words, or parts of words, have similar vectors. The same text has the same vector on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from services.embedder.model import TextKind, Vectors

_WORD = re.compile(r"\w+")
WORD_WEIGHT = 1.0
PART_WEIGHT = 0.3
"""Weight of three letters in a row, which lets "embedding" meet "embedded"."""


class HashEmbeddingModel:
    """Feature hashing of words and letter trigrams (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206).

    Args:
        dimension: Numbers in a vector.
        max_tokens: Words that are read.
    """

    def __init__(self, dimension: int = 384, max_tokens: int = 256) -> None:
        self._dimension = dimension
        self._max_tokens = max_tokens

    @property
    def model_revision(self) -> str:
        """Name and content of the model."""
        return f"hash-{self._dimension}@1"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    @property
    def max_tokens(self) -> int:
        """Words that are read."""
        return self._max_tokens

    def embed(self, texts: Sequence[str], kind: TextKind) -> Vectors:  # noqa: ARG002  # the protocol's; both are alike here
        """Embeds texts: float32, shape (len(texts), dimension), L2-normalised."""
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            # A text without a word still needs a direction.
            self._add(row, "", 1e-6)
            for word in _WORD.findall(text.lower())[: self._max_tokens]:
                self._add(row, word, WORD_WEIGHT)
                padded = f"<{word}>"
                for start in range(len(padded) - 2):
                    self._add(row, padded[start : start + 3], PART_WEIGHT)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the words of each text."""
        return [len(_WORD.findall(text)) for text in texts]

    def _add(self, row: Vectors, feature: str, weight: float) -> None:
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
        sign = 1.0 if digest & 1 else -1.0
        row[(digest >> 1) % self._dimension] += sign * weight
