"""What can be wrong with media, in words for the person who uploaded it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Machine-readable reasons. Those above the line fail the video, those below come with a result."""

    EMPTY_FILE = "EMPTY_FILE"
    NOT_MEDIA = "NOT_MEDIA"
    INCOMPLETE_MEDIA = "INCOMPLETE_MEDIA"
    NO_AUDIO_TRACK = "NO_AUDIO_TRACK"
    EMPTY_AUDIO_TRACK = "EMPTY_AUDIO_TRACK"
    UNSUPPORTED_CODEC = "UNSUPPORTED_CODEC"
    DAMAGED_AUDIO = "DAMAGED_AUDIO"
    MEDIA_TOO_LONG = "MEDIA_TOO_LONG"
    DECODING_TOO_COSTLY = "DECODING_TOO_COSTLY"

    SEVERAL_AUDIO_TRACKS = "SEVERAL_AUDIO_TRACKS"
    TRUNCATED_MEDIA = "TRUNCATED_MEDIA"
    DAMAGED_MEDIA = "DAMAGED_MEDIA"
    TIMESTAMPS_RESET = "TIMESTAMPS_RESET"
    NO_SPEECH = "NO_SPEECH"


@dataclass(frozen=True, slots=True)
class MediaWarning:
    """Something a person should know about a result."""

    reason: str
    message: str


class MediaProblem(Exception):  # it is the media that errs, and this says how
    """The media cannot be transcribed, and trying again will not help.

    Attributes:
        reason: Why, for machines.
        message: Why and what to do, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = str(reason)
        self.message = message


def clock(seconds: float) -> str:
    """Gives a time as people read it: `1:02:03` or `2:03`."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
