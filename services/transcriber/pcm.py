"""The one form of audio inside the transcriber, and its files: 16 kHz mono, float32 in memory, FLAC at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt

SAMPLE_RATE: Final = 16_000
"""Samples a second, the rate Whisper and Silero were trained on."""

Samples = npt.NDArray[np.float32]
"""Mono audio, shape (samples,), float32 in [-1, 1], at `SAMPLE_RATE`."""

_FLAC_BLOCK = 4096
_NOTE = "EARMARK"


def to_s16(samples: Samples) -> npt.NDArray[np.int16]:
    """Gives the samples as 16-bit integers, clipped."""
    whole: npt.NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return whole


def write_flac(path: Path, samples: npt.NDArray[np.int16], *, note: str = "") -> None:
    """Writes a FLAC file; the same samples give the same audio.

    Args:
        path: The file.
        samples: Shape (samples,), int16, `SAMPLE_RATE`.
        note: Text to keep with the audio, among the file's comments.
    """
    with av.open(str(path), "w", format="flac") as container:
        if note:
            container.metadata[_NOTE] = note
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, len(samples), _FLAC_BLOCK):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + _FLAC_BLOCK], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_flac(path: Path) -> Samples:
    """Reads a file that `write_flac` wrote.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        with av.open(str(path), format="flac", options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.audio[0]
            if stream.rate != SAMPLE_RATE or stream.channels != 1:
                raise ValueError(
                    f"slice audio has {stream.channels} channels at {stream.rate} Hz; 1 at {SAMPLE_RATE} is expected"
                )
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"slice audio cannot be read: {error}") from error
    if not blocks:
        return np.zeros(0, np.float32)
    return np.concatenate(blocks).astype(np.float32) / 32768.0


def read_note(path: Path) -> str:
    """Gives the text that was kept with the audio in a FLAC file; empty for none."""
    with av.open(str(path), format="flac", options={"protocol_whitelist": "file"}) as container:
        return str(container.metadata.get(_NOTE, ""))
