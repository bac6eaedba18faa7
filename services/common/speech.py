"""What an uploader may say about the speech in a video, for the recognizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How a video's speech is to be recognized; the defaults leave all of it to the recognizer.

    Attributes:
        language: The language spoken (ISO 639-1), when it is known; it is detected when empty.
        prompt: Text as it might stand before the speech: its spelling and style, and names that occur.
        hotwords: Words to be expected, such as names and products.
        task: `transcribe`, or `translate` to have the text in English.
    """

    language: str = ""
    prompt: str = ""
    hotwords: str = ""
    task: Task = "transcribe"

    def to_document(self) -> dict[str, Any]:
        """Gives the stored form: what is not left to the recognizer."""
        default = SpeechOptions()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    @classmethod
    def from_document(cls, stored: Mapping[str, Any] | None) -> Self:
        """Reads the stored form."""
        return cls(**(stored or {}))
