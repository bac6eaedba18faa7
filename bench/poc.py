"""The proof of concept that Earmark replaces: one process, libraries at their defaults, everything in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
from faster_whisper import WhisperModel
from sentence_transformers import SentenceTransformer

CHUNK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of transcript. Times are seconds in the media."""

    file: str
    text: str
    start: float
    end: float


class ProofOfConcept:
    """Transcribes with faster-whisper (beam 5, no VAD), embeds with torch, searches an exact FAISS index.

    Args:
        asr_model: folder of a CTranslate2 Whisper model, the same the mesh is given.
        embedding_model: folder of a sentence-transformers model, the same the mesh is given.
    """

    def __init__(self, asr_model: str, embedding_model: str) -> None:
        self._asr = WhisperModel(asr_model, device="cpu")
        self._embedder = SentenceTransformer(embedding_model, device="cpu")
        self.clear()

    def clear(self) -> None:
        """Forgets what was ingested."""
        self._index: Any = faiss.IndexFlatIP(self._embedder.get_embedding_dimension())
        self._pieces: list[Piece] = []

    def ingest(self, paths: Iterable[Path]) -> dict[str, str]:
        """Transcribes and indexes files one after another; gives each file's whole transcript by its name."""
        transcripts = {}
        for path in paths:
            segments, _ = self._asr.transcribe(str(path))
            lines = [Piece(path.name, segment.text.strip(), segment.start, segment.end) for segment in segments]
            transcripts[path.name] = " ".join(line.text for line in lines)
            self.index(lines)
        return transcripts

    def index(self, lines: Sequence[Piece]) -> None:
        """Indexes the lines of one file in chunks of 30 s."""
        pieces = chunks(lines)
        if pieces:
            self._index.add(self._embedder.encode([piece.text for piece in pieces], normalize_embeddings=True))
            self._pieces += pieces

    def search(self, query: str, k: int = 10) -> list[tuple[Piece, float]]:
        """Gives the `k` nearest chunks and their cosines, best first."""
        vector = self._embedder.encode([query], normalize_embeddings=True)
        scores, numbers = self._index.search(vector, min(k, len(self._pieces)))
        return [(self._pieces[number], float(score)) for number, score in zip(numbers[0], scores[0], strict=True)]


def chunks(lines: Sequence[Piece]) -> list[Piece]:
    """Joins lines until each piece has lasted 30 s or more."""
    pieces: list[Piece] = []
    group: list[Piece] = []
    for line in lines:
        group.append(line)
        if group[-1].end - group[0].start >= CHUNK_SECONDS:
            pieces.append(_joined(group))
            group = []
    if group:
        pieces.append(_joined(group))
    return pieces


def _joined(group: Sequence[Piece]) -> Piece:
    return Piece(group[0].file, " ".join(line.text for line in group), group[0].start, group[-1].end)
