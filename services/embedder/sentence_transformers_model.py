"""An exported model, run by sentence-transformers: for models of which the short way gives other vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.embedder.device import CUDA, Device, providers
from services.embedder.manifest import Manifest
from services.embedder.model import TextKind, Vectors
from services.embedder.onnx_model import session_options


class SentenceTransformersModel:
    """Whatever sentence-transformers can run on its ONNX backend.

    Args:
        folder: An exported model's folder, with `earmark.json`.
        threads: Threads of one computation.
        device: Where it computes.

    Raises:
        DeviceMissing: The device is not there.
    """

    def __init__(self, folder: Path, *, threads: int, device: Device = "cpu") -> None:
        from sentence_transformers import SentenceTransformer

        self._manifest = Manifest.read(folder)
        onnx = Path(self._manifest.onnx_file)
        provider = providers(device)[0]
        self._model: Any = SentenceTransformer(
            str(folder),
            backend="onnx",
            device="cuda" if provider == CUDA else "cpu",
            local_files_only=True,
            model_kwargs={
                "provider": provider,
                "subfolder": str(onnx.parent),
                "file_name": onnx.name,
                "session_options": session_options(threads),
            },
        )
        self._prompts = {
            TextKind.QUERY: self._manifest.query_prompt,
            TextKind.PASSAGE: self._manifest.passage_prompt,
        }
        self._passage_prompt_tokens = self.count_tokens([self._manifest.passage_prompt])[0]

    @property
    def model_revision(self) -> str:
        """Name and content of the model."""
        return self._manifest.model_revision

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._manifest.dimension

    @property
    def max_tokens(self) -> int:
        """Tokens of a passage that are read, special tokens included and the prompt left out."""
        return self._manifest.max_tokens - self._passage_prompt_tokens

    def embed(self, texts: Sequence[str], kind: TextKind) -> Vectors:
        """Embeds texts as one batch: float32, shape (len(texts), dimension), L2-normalised."""
        vectors = self._model.encode(
            list(texts),
            prompt=self._prompts[kind] or None,
            batch_size=len(texts),
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of each text without special tokens."""
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False)
        return [len(ids) for ids in encoded["input_ids"]]
