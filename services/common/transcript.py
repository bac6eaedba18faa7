"""The transcript of a slice, as the recognizer leaves it in the object store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

FORMAT_VERSION = 1

SUSPICIONS = {
    "no_speech": "there is hardly any speech in the audio under it",
    "loop": "the same words over and over, faster or longer than anybody says them",
    "phantom": "a phrase that speech models are known to invent, where little speaks for it",
    "echo": "words of the prompt, where little speaks for them",
    "marked": "somebody who went over the transcript said that nobody says it",
}
"""Why a segment is likely to be an invention of the recognizer. It is kept, left out of captions and of search."""


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
    """Who speaks; empty when unknown. What has its default here and below is not stored."""
    language: str = ""
    """Language of the text, ISO 639-1; empty where it is that of the slice, or unknown."""
    speech_share: float | None = None
    """Share of it that voice activity calls speech, 0 to 1; None when nobody looked."""
    confidence: float | None = None
    """How far the words can be trusted, 0 to 1; None when unknown. It orders segments, and is no probability."""
    suspect: str = ""
    """Why nobody may have said it (one of `SUSPICIONS`); empty for what is believed."""

    @property
    def heard(self) -> bool:
        """Whether a recognizer says when it was; else a person did. What a recognizer gives has figures of the model.

        The text of a segment that was heard may be a person's: the share of speech in it stays then.
        """
        figures = self.average_log_probability, self.no_speech_probability, self.compression_ratio
        return any(figures) or self.confidence is not None or self.speech_share is not None


@dataclass(frozen=True, slots=True)
class SliceTranscript:
    """What was said in one slice. `language`, of most of the text, is ISO 639-1 and empty where there is no speech."""

    video_id: str
    slice_id: str
    start: float
    end: float
    language: str
    language_probability: float
    asr_model: str
    segments: list[Segment]

    def believed(self) -> SliceTranscript:
        """Gives the transcript without what is suspect."""
        return replace(self, segments=[segment for segment in self.segments if not segment.suspect])

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
        segments = [segment_from(segment) for segment in stored.pop("segments")]
        return cls(**stored, segments=segments)


_NAMES = frozenset(one.name for one in fields(Segment))
_DEFAULTS = {"speaker": "", "language": "", "speech_share": None, "confidence": None, "suspect": ""}


def segment_from(stored: Mapping[str, Any]) -> Segment:
    """Reads a segment from plain types; what later code may have added to it is passed over."""
    known = {name: value for name, value in stored.items() if name in _NAMES}
    return Segment(**{**known, "words": [Word(**word) for word in stored["words"]]})


def _segment_fields(segment: Segment) -> dict[str, Any]:
    shown = {one.name: getattr(segment, one.name) for one in fields(segment)}
    return {name: value for name, value in shown.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
