"""Hours of media in which something is said at known moments, with timestamps as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RATE = 16_000
_FRAME = 1024


def write_said_at(
    path: Path, said: npt.NDArray[np.int16], moments: Collection[float], *, seconds: float, codec: str = "aac"
) -> Path:
    """Writes `seconds` of silence in which `said` is heard at `moments`.

    Args:
        path: The file; its suffix says which container.
        said: Shape (samples,), 16 kHz.
        moments: Seconds at which it begins.
        seconds: Length.
        codec: What it is encoded with.
    """
    with av.open(str(path), "w") as out:
        sound: Any = out.add_stream(codec, rate=RATE, layout="mono", options={"b": "24000"})
        for start, block in _blocks(
            said, np.array([round(moment * RATE) for moment in moments]), round(seconds * RATE)
        ):
            frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def _blocks(
    said: npt.NDArray[np.int16], begins: npt.NDArray[np.int64], samples: int
) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    for start in range(0, samples, _FRAME):
        block = np.zeros(_FRAME, np.int16)
        for begin in begins[(begins < start + _FRAME) & (begins + len(said) > start)]:
            first, last = max(begin, start), min(begin + len(said), start + _FRAME)
            block[first - start : last - start] = said[first - begin : last - begin]
        yield start, block


def retimed(
    recording: Path,
    path: Path,
    *,
    clock: Callable[[float], float],
    kept: Callable[[float], bool],
    pictures: Callable[[int], float] | None,
) -> Path:
    """Writes the packets of a recording with other timestamps.

    Args:
        recording: What `write_said_at` wrote.
        path: The file; its suffix says which container.
        clock: Gives the timestamp, in seconds, of what was recorded at a second; strays from even by less than a
            packet's length (64 ms) from one packet to the next.
        kept: Whether the packet of that second is in the file.
        pictures: Gives the timestamp, in seconds, of the nth picture; the file has none without.
    """
    with av.open(str(recording)) as source, av.open(str(path), "w") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        picture: Any = None
        if pictures:
            picture = out.add_stream("mpeg4", rate=1000)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            picture.codec_context.time_base = Fraction(1, 1000)
        shown = 0
        for packet in source.demux(audio=0):
            if packet.pts is None or not kept(second := float(packet.pts * packet.time_base)):
                continue
            while pictures and pictures(shown) <= clock(second):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shown % 256, np.uint8), format="rgb24")
                frame.pts, frame.time_base = round(pictures(shown) * 1000), Fraction(1, 1000)
                out.mux(picture.encode(frame))
                shown += 1
            packet.pts = packet.dts = round(clock(second) / packet.time_base)
            packet.stream = sound
            out.mux(packet)
        if picture:
            out.mux(picture.encode(None))
    return path


def repeated(recording: Path, path: Path, *, times: int) -> Path:
    """Writes the packets of a recording over and over, which takes seconds for a day."""
    with av.open(str(recording)) as source, av.open(str(path), "w") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        packets = [(bytes(packet), packet.duration) for packet in source.demux(audio=0) if packet.size][1:]
        base = source.streams.audio[0].time_base
        stamp = 0
        for _ in range(times):
            for data, duration in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base = sound, base
                packet.pts = packet.dts = stamp
                packet.duration = duration
                out.mux(packet)
                stamp += duration or _FRAME
    return path
