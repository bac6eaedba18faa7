"""Small videos with a picture that says which second it is, in many codecs and containers."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 10


def colour(second: int) -> tuple[int, int, int]:
    """The colour that the picture has in a second: far from that of the seconds near it."""
    return ((second * 83) % 200 + 40, (second * 151) % 200 + 40, (second * 47) % 200 + 40)


def video(
    path: Path,
    *,
    seconds: int = 6,
    size: tuple[int, int] = (96, 64),
    video_codec: str = "mpeg4",
    audio_codec: str = "",
    pixels: str = "yuv420p",
    key_every: int = 1,
    shape: Fraction | None = None,
    container: str | None = None,
    begins: float = 0.0,
) -> Path:
    """Writes a video whose upper left quarter is brighter, and whose colour is another each second.

    Args:
        path: The file; its name says which container, unless `container` does.
        seconds: Length.
        size: Width and height as stored.
        video_codec: Encoder of the picture; empty for none.
        audio_codec: Encoder of a tone; empty for none.
        pixels: Pixel format.
        key_every: Seconds between key frames.
        shape: Width of a pixel over its height.
        container: Its kind.
        begins: Timestamp of the first frame, in seconds.
    """
    with av.open(str(path), "w", format=container) as out:
        sound: Any = out.add_stream(audio_codec, rate=48_000) if audio_codec else None
        if sound is not None:
            sound.layout = "stereo"
            sound.bit_rate = 128_000
        if video_codec:
            options = {"x264-params": "scenecut=0"} if video_codec == "libx264" else {}
            picture: Any = out.add_stream(video_codec, rate=RATE, options=options)
            picture.width, picture.height = size
            picture.pix_fmt = pixels
            picture.codec_context.gop_size = RATE * key_every
            picture.codec_context.time_base = Fraction(1, RATE)
            if shape is not None:
                picture.codec_context.sample_aspect_ratio = shape
            for number in range(seconds * RATE):
                frame = av.VideoFrame.from_ndarray(_drawn(size, number // RATE), format="rgb24").reformat(format=pixels)
                frame.pts = number + round(begins * RATE)
                frame.time_base = Fraction(1, RATE)
                key = number % (RATE * key_every) == 0
                frame.pict_type = av.video.frame.PictureType.I if key else av.video.frame.PictureType.NONE
                out.mux(picture.encode(frame))
            out.mux(picture.encode(None))
        if sound is not None:
            _tone(out, sound, seconds, begins)
    return path


def _drawn(size: tuple[int, int], second: int) -> Any:
    width, height = size
    drawn = np.empty((height, width, 3), np.uint8)
    drawn[:] = colour(second)
    drawn[: height // 2, : width // 2] = 250
    return drawn


def _tone(out: Any, stream: Any, seconds: int, begins: float) -> None:
    form = stream.codec_context.format.name
    resampler = av.AudioResampler(
        format=form, layout="stereo", rate=48_000, frame_size=stream.codec_context.frame_size or 1024
    )
    wave = (0.2 * 32_767 * np.sin(2 * np.pi * 440 * np.arange(seconds * 48_000) / 48_000)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2).reshape(1, -1), format="s16", layout="stereo")
    frame.sample_rate = 48_000
    at = round(begins * 48_000)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        part.pts, part.time_base = at, Fraction(1, 48_000)
        at += part.samples
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))


def turned(path: Path) -> Path:
    """Says in an MP4, as phones do, that it is to be shown turned a quarter clockwise."""
    data = path.read_bytes()
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    track = data.index(b"tkhd")
    at = data.index(upright, track)
    path.write_bytes(data[:at] + quarter + data[at + len(quarter) :])
    return path


def near(found: Any, second: int) -> bool:
    """Says whether a colour is, as far as codecs keep it, that of a second."""
    return bool(np.abs(np.asarray(found, float) - colour(second)).max() < 30)
