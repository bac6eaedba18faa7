"""What turns speech into timed text: the Protocol. Behind it are `whisper` and `scripted`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from services.common.speech import SpeechOptions
from services.common.transcript import Segment
from services.transcriber.pcm import Samples
from services.transcriber.voice import Voice


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was heard in one stretch of audio. Times are seconds from its beginning.

    Attributes:
        language: Of most of the text, ISO 639-1; empty where there is no speech.
        language_probability: How sure that is, 0 to 1.
        segments: In order of time.
        spoken: Seconds of speech heard in each language; another one than that of the text where it was translated.
    """

    language: str
    language_probability: float
    segments: list[Segment]
    spoken: dict[str, float] = field(default_factory=dict)

    def shifted(self, seconds: float, *, end: float) -> list[Segment]:
        """Gives the segments in the clock in which the audio begins at `seconds` and ends at `end`."""

        def moved(time: float) -> float:
            # Milliseconds: finer than any recognizer knows, and the same text each time it is written.
            return round(min(max(seconds + time, seconds), end), 3)

        return [
            replace(
                segment,
                start=moved(segment.start),
                end=moved(segment.end),
                words=[replace(word, start=moved(word.start), end=moved(word.end)) for word in segment.words],
            )
            for segment in self.segments
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """What a recognizer is told about the audio.

    Attributes:
        options: What the uploader said. A language that the recognizer does not know counts as none.
        hint: The language to be expected (ISO 639-1) where the audio itself is clear about none; empty for none.
    """

    options: SpeechOptions = field(default_factory=SpeechOptions)
    hint: str = ""


class Recognizer(Protocol):
    """Anything that recognizes speech: a model here, and in time one that runs elsewhere.

    The same audio and instructions must give the same recognition, whatever was recognized before: a slice that is
    done again after a crash has to say what it said. What can be told from text and audio alone (`honesty.judged`) is
    not its business. `tests/unit/transcriber/recognizer_conformance.py` says the rest in code.
    """

    @property
    def name(self) -> str:
        """The model, as a person would name it."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda`, or a word for elsewhere."""
        ...

    def recognize(self, samples: Samples, instructions: Instructions, voice: Voice | None = None) -> Recognition:
        """Recognizes the speech in `samples`; no speech gives no segments.

        Args:
            samples: Shape (samples,), float32 in [-1, 1], 16 kHz mono.
            instructions: What is known of it.
            voice: Its voice activity (`VoiceActivity.of_whole`), where the caller has looked already.

        Raises:
            RuntimeError: The recognizer is in an unknown state, and must not be asked again.
            ValueError: This audio cannot be recognized.
        """
        ...


class NotAvailable(Exception):
    """The recognizer cannot be made: a wrong setting, or a model that is not there."""
