"""The transcript of a slice, as the recognizer leaves it in the object store."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import orjson

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Word:
    """A word. Times are seconds in the media's clock; `text` keeps its leading space where the language has one."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech as the recognizer gave it, with what the model knew. Times as in `Word`."""

    start: float
    end: float
    text: str
    words: list[Word] = field(default_factory=list)
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 0.0
    speaker: str = ""
    """Who speaks; empty when unknown. Not stored when empty: code of before it knew speakers reads that."""


@dataclass(frozen=True, slots=True)
class SliceTranscript:
    """What was said in one slice. `language` is ISO 639-1 and empty where there is no speech."""

    video_id: str
    slice_id: str
    start: float
    end: float
    language: str
    language_probability: float
    asr_model: str
    segments: list[Segment]

    def to_bytes(self) -> bytes:
        """Gives the stored form: JSON with a format version."""
        # Not asdict(), which copies every word: an import writes hundreds of slices in a row.
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        segments = [_segment_fields(segment) for segment in self.segments]
        return orjson.dumps({"format_version": FORMAT_VERSION, **own, "segments": segments})

    @classmethod
    def from_bytes(cls, data: bytes) -> SliceTranscript:
        """Reads the stored form.

        Raises:
            ValueError: It is not one, or of a version this code does not know.
        """
        stored: dict[str, Any] = orjson.loads(data)
        version = stored.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(f"slice transcript of format {version!r}; this code reads {FORMAT_VERSION}")
        segments = [
            Segment(**{**segment, "words": [Word(**word) for word in segment["words"]]})
            for segment in stored.pop("segments")
        ]
        return cls(**stored, segments=segments)


def _segment_fields(segment: Segment) -> dict[str, Any]:
    shown = {one.name: getattr(segment, one.name) for one in fields(segment)}
    if not segment.speaker:
        del shown["speaker"]
    return shown
