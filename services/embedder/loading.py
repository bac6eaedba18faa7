"""Finds and loads the embedding model that the settings name."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.embedder.device import Device
from services.embedder.hashing import HashEmbeddingModel
from services.embedder.manifest import Manifest
from services.embedder.model import EmbeddingModel, TextKind
from services.embedder.model_cache import exported
from services.embedder.onnx_model import OnnxEmbeddingModel
from services.embedder.sentence_transformers_model import SentenceTransformersModel

WARM_UP = "Words of about the length of what will be asked. "
WARM_UP_LENGTHS = (1, 3, 10)


class ModelLoader:
    """Loads instances of one model.

    Args:
        source: Folder of a sentence-transformers model, or its name; `hash` or `hash:<dimension>` for arithmetic only.
        cache_dir: Where exported models are kept.
        device: Where it computes.
    """

    def __init__(self, source: str, cache_dir: Path, *, device: Device = "cpu") -> None:
        self._source = source
        self._device = device
        self._cache_dir = cache_dir
        self._lock = asyncio.Lock()
        self._folder: Path | None = None

    @property
    def _is_hash(self) -> bool:
        return self._source.partition(":")[0] == "hash"

    async def prepare(self) -> None:
        """Exports the model where that was not done before. Raises ModelNotUsable."""
        async with self._lock:
            if self._folder is None and not self._is_hash:
                self._folder = await exported(self._source, self._cache_dir)

    def load(self, *, threads: int) -> EmbeddingModel:
        """Loads an instance of the prepared model and warms it up. Blocks for about a second.

        Args:
            threads: Threads of one computation.
        """
        if self._is_hash:
            dimension = self._source.partition(":")[2]
            return HashEmbeddingModel(int(dimension)) if dimension else HashEmbeddingModel()
        assert self._folder is not None, "prepare() comes first"
        model: EmbeddingModel
        if Manifest.read(self._folder).direct:
            model = OnnxEmbeddingModel(self._folder, threads=threads, device=self._device)
        else:
            model = SentenceTransformersModel(self._folder, threads=threads, device=self._device)
        for repeats in WARM_UP_LENGTHS:  # the first run of each shape takes memory from the system
            model.embed([WARM_UP * repeats], TextKind.QUERY)
            model.embed([WARM_UP * repeats] * 8, TextKind.PASSAGE)
        return model
