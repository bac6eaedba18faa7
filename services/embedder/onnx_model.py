"""An exported model, run by its tokenizer and ONNX Runtime alone.

sentence-transformers' `encode` does the same and costs about as much again for one query; it also imports torch,
which takes seconds and hundreds of MiB. Whether both give the same vectors is tried when a model is exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.embedder.device import Device, check, providers
from services.embedder.manifest import Manifest
from services.embedder.model import TextKind, Vectors

SEVERITY_ERROR = 3


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Gives the options of a session that computes with `threads` threads and leaves the cores alone in between."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SEVERITY_ERROR
    # Threads that spin while they wait are quicker by a hair and take a whole core from the services beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxEmbeddingModel:
    """A transformer with mean or first-token pooling.

    Args:
        folder: An exported model's folder, with `earmark.json`, `tokenizer.json` and the graph.
        threads: Threads of one computation.
        device: Where it computes.
        manifest: In place of the folder's own, for trying variants at export.

    Raises:
        DeviceMissing: The device is not there.
    """

    def __init__(self, folder: Path, *, threads: int, device: Device = "cpu", manifest: Manifest | None = None) -> None:
        self._manifest = manifest or Manifest.read(folder)
        # Set up once and never changed: one whose padding is changed while it encodes raises "Already borrowed".
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._manifest.max_tokens)
        self._session = onnxruntime.InferenceSession(
            folder / self._manifest.onnx_file, session_options(threads), providers=providers(device)
        )
        check(device, self._session.get_providers())
        self._inputs = [node.name for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        self._output = next((n for n in outputs if n in {"last_hidden_state", "token_embeddings"}), outputs[0])
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
        prompt = self._prompts[kind]
        # One by one: the tokenizer's own batching hands 8 short texts to a pool of threads, which takes longer.
        encodings = [self._tokenizer.encode(prompt + text) for text in texts]
        lengths = [len(encoding.ids) for encoding in encodings]
        shape = (len(texts), max(lengths))
        feed: dict[str, Any] = {
            "input_ids": np.full(shape, self._manifest.pad_token_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, (encoding, length) in enumerate(zip(encodings, lengths, strict=True)):
            feed["input_ids"][row, :length] = encoding.ids
            feed["attention_mask"][row, :length] = 1
            feed["token_type_ids"][row, :length] = encoding.type_ids
        hidden = self._session.run([self._output], {name: feed[name] for name in self._inputs})[0]
        return _normalised(_pooled(hidden, feed["attention_mask"], self._manifest.pooling))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of each text without special tokens, up to `max_tokens`."""
        return [len(self._tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


def _pooled(hidden: Any, mask: Any, pooling: str) -> Vectors:
    """Gives one vector a text. `hidden` is float32 (texts, tokens, dimension), `mask` int64 (texts, tokens)."""
    if pooling == "cls":
        return np.asarray(hidden[:, 0], np.float32)
    if len(hidden) == 1:  # nothing is padded
        return np.asarray(hidden.mean(axis=1), np.float32)
    weights = mask[:, :, None].astype(np.float32)
    return np.asarray((hidden * weights).sum(axis=1) / weights.sum(axis=1), np.float32)


def _normalised(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
