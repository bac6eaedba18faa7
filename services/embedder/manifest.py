"""What an exported model's folder says about itself (`earmark.json`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
"""Raised when an older export can no longer be used: the folder's name carries it, so that a new one is made."""
FILE = "earmark.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """How to run an exported model.

    Attributes:
        name: Name of the model, for people.
        content: Hash of the model's files, hex.
        dimension: Numbers in a vector.
        max_tokens: Tokens that are read, special tokens and prompt included.
        onnx_file: The graph, relative to the folder.
        direct: Whether the graph and the tokenizer alone give what sentence-transformers gives, as was tried at export.
        pooling: How token vectors become one: `mean` or `cls`. Empty unless `direct`.
        pad_token_id: Token that fills up shorter texts of a batch.
        query_prompt: Put before each query.
        passage_prompt: Put before each passage.
    """

    name: str
    content: str
    dimension: int
    max_tokens: int
    onnx_file: str
    direct: bool
    pooling: str
    pad_token_id: int
    query_prompt: str
    passage_prompt: str

    @property
    def model_revision(self) -> str:
        """Name and content: what documents and indexes remember."""
        return f"{self.name}@{self.content[:12]}"

    def write(self, folder: Path) -> None:
        """Writes it into an exported model's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads it from an exported model's folder. Raises OSError, ValueError or TypeError when it is not one."""
        return cls(**json.loads((folder / FILE).read_text()))
