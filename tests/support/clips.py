"""Short pieces of the samples."""

from __future__ import annotations

from pathlib import Path

import av


def clipped(source: Path, target: Path, *, seconds: float) -> Path:
    """The first seconds of a video, its streams copied."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        streams = {stream.index: writing.add_stream_from_template(stream) for stream in reading.streams}
        for packet in reading.demux():
            if packet.dts is not None and packet.pts * packet.time_base < seconds:
                packet.stream = streams[packet.stream.index]
                writing.mux(packet)
    return target
