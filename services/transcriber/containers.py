"""Opens media files that nobody vouches for: as audio or video of one file, and as nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import av.error

from services.transcriber.problems import MediaProblem, Reason

# These read other files, devices or the network on the word of the file they were given, or make noise of anything.
_FOLLOWING = frozenset(
    {"hls", "dash", "concat", "concatf", "imf", "image2", "image2pipe", "webm_dash_manifest", "tee", "vobsub"}
)
_STREAMING = frozenset({"sdp", "rtsp", "rtp", "sap", "lavfi", "vapoursynth", "avisynth"})
_DEVICES = frozenset(
    {"alsa", "fbdev", "kmsgrab", "oss", "pulse", "jack", "v4l2", "video4linux2,v4l2", "x11grab", "xcbgrab"}
)
_FORMLESS = frozenset({"ffmetadata", "tty", "bin", "data"})
_REFUSED_FORMATS: Final = _FOLLOWING | _STREAMING | _DEVICES | _FORMLESS
ABSOLUTE_CLOCK: Final = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers whose zero is where a player's clock begins; in the others (MPEG-TS …) it is the first timestamp."""


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a file. Raises MediaProblem where it is no media."""
    options = {"protocol_whitelist": "file", "format_whitelist": _allowed_formats()}
    try:
        return av.open(str(path), "r", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        with path.open("rb") as file:
            head = file.read(12)
        if head[4:8] == b"ftyp":
            message = (
                "The file is incomplete: it ends before the index that an MP4 or MOV file needs to be read,"
                " as after an interrupted recording or transfer. Upload the whole file."
            )
            raise MediaProblem(Reason.INCOMPLETE_MEDIA, message) from error
        message = "The file is not audio or video in any format known here, or its beginning is damaged."
        raise MediaProblem(Reason.NOT_MEDIA, message) from error


def decodable(track: av.AudioStream | av.VideoStream) -> bool:
    """Says whether there is a decoder for a track."""
    try:
        return bool(track.codec_context.codec.is_decoder)
    except (av.FFmpegError, ValueError, AttributeError):
        return False


def codec_name(track: av.AudioStream | av.VideoStream) -> str:
    """Gives the name of a track's codec, `unknown` where it has none."""
    try:
        return str(track.codec_context.name)
    except (av.FFmpegError, ValueError, AttributeError):
        return "unknown"


def format_name(track: av.AudioStream | av.VideoStream) -> str:
    """Gives the name of what a track is coded in, whichever decoder reads it; `unknown` where there is none."""
    try:
        return str(track.codec_context.codec.canonical_name)
    except (av.FFmpegError, ValueError, AttributeError):
        return "unknown"


def _allowed_formats() -> str:
    return ",".join(sorted(name for name in av.formats_available if name not in _REFUSED_FORMATS))
