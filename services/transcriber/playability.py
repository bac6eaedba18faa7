"""Whether browsers can play a file as it is, and what has to be made of it where they cannot.

What plays is taken where Chromium, Firefox and Safari agree, from MDN's "Media container formats" and "Web video codec
guide". Where they do not (HEVC, Matroska, QuickTime, ALAC) it counts as what does not play.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

_MP4_VIDEO: Final = frozenset({"h264", "av1", "vp9"})
_MP4_AUDIO: Final = frozenset({"aac", "mp3", "opus", "flac"})
_WEBM_VIDEO: Final = frozenset({"vp8", "vp9", "av1"})
_WEBM_AUDIO: Final = frozenset({"vorbis", "opus"})
_PLAIN: Final = {
    "mp3": frozenset({"mp3"}),
    "flac": frozenset({"flac"}),
    "aac": frozenset({"aac"}),
    "wav": frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"}),
    "ogg": frozenset({"vorbis", "opus", "flac"}),
}
"""Containers of sound alone, and the codecs that play in them."""
_EIGHT_BITS: Final = frozenset({"yuv420p", "yuvj420p"})
_QUICKTIME: Final = "qt"


@dataclass(frozen=True, slots=True)
class Look:
    """What a file is.

    Attributes:
        formats: FFmpeg's names of its container.
        brand: Major brand of an MP4 or QuickTime file, document type of a Matroska file; empty for others.
        video: Codec of the picture; empty where there is none.
        pixels: FFmpeg's name of its pixel format.
        audio: Codec of the sound; empty where there is none.
    """

    formats: frozenset[str]
    brand: str = ""
    video: str = ""
    pixels: str = ""
    audio: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made of a file that does not play.

    Attributes:
        container: mp4 or webm.
        copy_video: Whether the picture is taken as it is.
        copy_audio: Whether the sound is.
        why: What does not play, for people.
    """

    container: str
    copy_video: bool
    copy_audio: bool
    why: str

    @property
    def copies(self) -> bool:
        """Whether nothing is encoded anew."""
        return self.copy_video and self.copy_audio


def plan(look: Look) -> Plan | None:
    """Gives what is to be made of a file so that browsers play it; None where they play it as it is."""
    if _plays(look):
        return None
    if look.video == "vp8" or (look.video in _WEBM_VIDEO and look.audio in _WEBM_AUDIO):
        container, video, audio = "webm", _WEBM_VIDEO, _WEBM_AUDIO
    else:
        container, video, audio = "mp4", _MP4_VIDEO, _MP4_AUDIO
    return Plan(
        container,
        copy_video=not look.video or (look.video in video and _few_bits(look)),
        copy_audio=not look.audio or look.audio in audio,
        why=_why(look, video, audio),
    )


def _plays(look: Look) -> bool:
    if "mp4" in look.formats:
        return look.brand != _QUICKTIME and _fits(look, _MP4_VIDEO, _MP4_AUDIO)
    if "webm" in look.formats:
        return look.brand == "webm" and _fits(look, _WEBM_VIDEO, _WEBM_AUDIO)
    return any(name in look.formats and not look.video and look.audio in codecs for name, codecs in _PLAIN.items())


def _fits(look: Look, video: Collection[str], audio: Collection[str]) -> bool:
    return (not look.video or (look.video in video and _few_bits(look))) and (not look.audio or look.audio in audio)


def _few_bits(look: Look) -> bool:
    # Of H.264 only the profiles with eight bits and a quarter of the colours are decoded everywhere.
    return look.video != "h264" or not look.pixels or look.pixels in _EIGHT_BITS


def _why(look: Look, video: Collection[str], audio: Collection[str]) -> str:
    if look.video and (look.video not in video or not _few_bits(look)):
        detail = f" ({look.pixels})" if look.video in video else ""
        return f"browsers do not play video in {look.video}{detail}"
    if look.audio and look.audio not in audio:
        return f"browsers do not play sound in {look.audio}"
    names = "QuickTime" if look.brand == _QUICKTIME else "/".join(sorted(look.formats))
    return f"browsers do not all play files of the kind {names}"
