"""Small media files of tones and silence, made with PyAV when a test asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 1024


@dataclass(frozen=True)
class Tone:
    """A sine of ``hertz`` for ``seconds``; 0 Hz is silence."""

    seconds: float
    hertz: float = 440.0
    amplitude: float = 0.3


def silence(seconds: float) -> Tone:
    """``seconds`` of digital silence."""
    return Tone(seconds, hertz=0.0)


class MediaMaker:
    """Writes media files into one folder; the same arguments give the same file, made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wav(
        self, parts: Sequence[Tone] = (Tone(1.0),), *, sample_rate: int = SAMPLE_RATE, channels: int = 1, name: str = ""
    ) -> Path:
        """A 16-bit PCM WAV of ``parts`` one after the other, the same in every channel."""
        return self._made("wav", "pcm_s16le", parts, sample_rate, channels, name, video=False)

    def mp4(
        self, parts: Sequence[Tone] = (Tone(1.0),), *, sample_rate: int = 44_100, channels: int = 1, name: str = ""
    ) -> Path:
        """An MP4 with AAC audio of ``parts`` and a small moving picture (MPEG-4, 64 x 48, 5 frames a second)."""
        return self._made("mp4", "aac", parts, sample_rate, channels, name, video=True)

    def silent_video(self, seconds: float = 1.0) -> Path:
        """An MP4 with a picture and no audio track at all."""
        return self._made("mp4", "", (silence(seconds),), SAMPLE_RATE, 1, "no-audio-track", video=True)

    def _made(
        self, kind: str, codec: str, parts: Sequence[Tone], sample_rate: int, channels: int, name: str, *, video: bool
    ) -> Path:
        told = "_".join(f"{part.hertz:g}x{part.seconds:g}x{part.amplitude:g}" for part in parts)
        path = self._folder / f"{name or told}-{sample_rate}-{channels}.{kind}"
        if not path.exists():
            _write(path, codec, parts, sample_rate, channels, video=video)
        return path


def _write(path: Path, codec: str, parts: Sequence[Tone], sample_rate: int, channels: int, *, video: bool) -> None:
    import av

    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream(codec, rate=sample_rate) if codec else None
        if audio is not None:
            audio.layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]
        picture: Any = container.add_stream("mpeg4", rate=5) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            _write_picture(container, picture, sum(part.seconds for part in parts))
        if audio is not None:
            _write_sound(container, audio, parts, sample_rate, channels)


def _write_picture(container: Any, stream: Any, seconds: float) -> None:
    import av
    import numpy as np

    for number in range(max(1, round(seconds * 5))):
        pixels = np.full((48, 64, 3), (number * 11) % 256, dtype=np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
    container.mux(stream.encode(None))


def _write_sound(container: Any, stream: Any, parts: Sequence[Tone], sample_rate: int, channels: int) -> None:
    import av
    import numpy as np

    wave = np.concatenate(
        [
            part.amplitude * np.sin(2 * np.pi * part.hertz * np.arange(round(part.seconds * sample_rate)) / sample_rate)
            for part in parts
        ]
    )
    samples = (wave * 32_767).astype(np.int16)
    for start in range(0, len(samples), FRAME_SAMPLES):
        block = np.repeat(samples[start : start + FRAME_SAMPLES], channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=stream.layout.name)
        frame.sample_rate = sample_rate
        frame.pts = start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
