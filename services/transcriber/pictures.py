"""Small pictures of a video for every part of it, made from its key frames alone.

A key frame is decoded by itself, so the cost does not depend on the length of what lies between: the file is asked for
one near each wanted second. Encoders put a key frame where the picture changes at once, so that the last one before a
second mostly shows what is to be seen at that second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
import numpy as np
import numpy.typing as npt

from services.transcriber.containers import ABSOLUTE_CLOCK, decodable

Pixels = npt.NDArray[np.uint8]
"""Shape (height, width, 3), RGB."""

WIDTHS: Final = (240, 480)
"""Longest sides of the pictures that are kept, in pixels."""
TILE: Final = 160
COLUMNS: Final = 10
ROWS: Final = 10
MOST: Final = 1200
"""Pictures of one video at most, however long it is."""
LEAST_SECONDS: Final = 2.0
"""Two pictures are not nearer to each other than that."""
_QUALITY: Final = {240: 6, 480: 5, TILE: 7}
"""Quantiser of the JPEGs by width, 2 (best) to 31."""
_FEW: Final = 2
_SHORT_SECONDS: Final = 60.0
_RGB: Final = "rgb24"

Timed = tuple[float, av.VideoFrame]
"""A frame and its timestamp in seconds."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What is kept of one picture: JPEGs, since pixels take twenty times as much, and those of the smallest.

    Attributes:
        jpegs: One for each of `WIDTHS`.
        tile: Its pixels on a sheet.
    """

    jpegs: tuple[bytes, ...]
    tile: Pixels

    @classmethod
    def of(cls, pixels: Pixels) -> Shot:
        """Makes it of a picture of the largest width."""
        return cls(
            tuple(jpeg(smaller(pixels, width), _QUALITY[width]) for width in WIDTHS),
            np.ascontiguousarray(smaller(pixels, TILE)),
        )


@dataclass(slots=True)
class Roll:
    """Pictures in order of time. When there are too many every other goes, and the rest are farther apart.

    Attributes:
        apart: Seconds that lie at least between two of them.
        times: When each is seen, in seconds.
        shots: The pictures.
    """

    apart: float
    times: list[float] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)

    def wants(self, seconds: float) -> bool:
        """Says whether a picture of that second is wanted."""
        return not self.times or seconds - self.times[-1] >= self.apart * 0.999

    def add(self, seconds: float, shot: Shot) -> None:
        """Adds a picture."""
        self.times.append(seconds)
        self.shots.append(shot)
        if len(self.times) > MOST:
            self.apart *= 2
            self.times, self.shots = self.times[::2], self.shots[::2]


def moving_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """Gives the track of moving pictures that a player shows; None where there is none."""
    tracks = [track for track in container.streams.video if not _is_cover(track)]
    default = [track for track in tracks if track.disposition & av.stream.Disposition.default]
    return next(iter(default or tracks), None)


def picture_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """Gives the track to take pictures of: what a player shows, or the cover of a piece of music; None without one."""
    track = moving_track(container) or next(iter(container.streams.video), None)
    return track if track is not None and decodable(track) else None


def _is_cover(track: av.VideoStream) -> bool:
    return bool(track.disposition & av.stream.Disposition.attached_pic)


def collect(
    container: av.container.InputContainer, track: av.VideoStream, *, seen: Callable[[float], None] = lambda _: None
) -> Roll:
    """Takes pictures of a track, none where nothing of it can be decoded; `seen` is told how far it is, in seconds."""
    track.thread_type = "NONE"
    track.codec_context.skip_frame = "NONKEY"
    seconds = container.duration / av.time_base if container.duration else 0.0
    roll = Roll(max(LEAST_SECONDS, seconds / MOST))
    if seconds and not _is_cover(track):
        _fill(roll, container, track, _at_targets(container, track, seconds, roll.apart), seen, all_of_them=True)
    if not roll.times or (len(roll.times) < _FEW and seconds > _SHORT_SECONDS):
        # There is no index to find key frames by, or hardly any key frame.
        roll = Roll(roll.apart)
        _fill(roll, container, track, _one_after_the_other(container, track), seen)
    return roll


def _fill(
    roll: Roll,
    container: av.container.InputContainer,
    track: av.VideoStream,
    frames: Iterator[Timed],
    seen: Callable[[float], None],
    *,
    all_of_them: bool = False,
) -> None:
    absolute = bool(set(container.format.name.split(",")) & ABSOLUTE_CLOCK)
    origin = 0.0 if absolute or container.start_time is None else container.start_time / av.time_base
    for stamp, frame in frames:
        seen(stamp)
        seconds = max(stamp - origin, 0.0)
        if all_of_them or roll.wants(seconds):
            try:
                roll.add(round(seconds, 3), Shot.of(upright(frame, track, WIDTHS[-1])))
            except (av.FFmpegError, ValueError, OverflowError):
                continue


def _at_targets(
    container: av.container.InputContainer, track: av.VideoStream, seconds: float, apart: float
) -> Iterator[Timed]:
    """Gives the last key frame at or before each wanted second, each once."""
    last: int | None = None
    first = container.start_time or 0
    for number in range(max(math.ceil(seconds / apart), 1)):
        try:
            if number:
                container.seek(first + round(number * apart * av.time_base), backward=True)
            packet = next(_key_packets(container, track), None)
        except (av.FFmpegError, OSError):
            return
        if packet is None or packet.pts is None or (last is not None and packet.pts <= last):
            continue
        last = packet.pts
        yield from _decoded(track, packet)


def _one_after_the_other(container: av.container.InputContainer, track: av.VideoStream) -> Iterator[Timed]:
    try:
        container.seek(container.start_time or 0, backward=True)
    except (av.FFmpegError, OSError):
        track.codec_context.flush_buffers()
    try:
        for packet in _key_packets(container, track):
            yield from _decoded(track, packet)
    except (av.FFmpegError, OSError):
        return  # nothing after this can be found; what came before is good


def _key_packets(container: av.container.InputContainer, track: av.VideoStream) -> Iterator[av.Packet[Any]]:
    for packet in container.demux(track):
        if packet.size and packet.is_keyframe:
            yield packet


def _decoded(track: av.VideoStream, packet: av.Packet[Any]) -> list[Timed]:
    """Decodes a key frame by itself: told that nothing follows, the decoder does not hold it back."""
    context = track.codec_context
    stamp = packet.pts if packet.pts is not None else packet.dts
    # The clock is the packet's: a frame that is let out at the end has lost its own.
    seconds = float(stamp * track.time_base) if stamp is not None and track.time_base is not None else 0.0
    try:
        return [(seconds, frame) for frame in [*context.decode(packet), *context.decode(None)][:1]]
    except (av.FFmpegError, ValueError, OverflowError):
        return []
    finally:
        context.flush_buffers()


def upright(frame: av.VideoFrame, track: av.VideoStream, longest: int) -> Pixels:
    """Gives a frame as it is to be seen: its pixels square, the right way up, its longer side at most `longest`."""
    shape = track.codec_context.sample_aspect_ratio
    ratio = float(shape) if shape and 0.1 < float(shape) < 10 else 1.0
    wide, high = frame.width * ratio, float(frame.height)
    share = min(longest / max(wide, high), 1.0)
    width, height = max(round(wide * share), 2), max(round(high * share), 2)
    pixels = _pixels(frame.reformat(width, height, _RGB, interpolation="AREA"))
    # What the matrix of the file says, counter-clockwise; phones write quarter turns.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def smaller(pixels: Pixels, longest: int) -> Pixels:
    """Gives pixels with a longer side of at most `longest`."""
    height, width = pixels.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return pixels
    frame = av.VideoFrame.from_ndarray(pixels, format=_RGB)
    return _pixels(
        frame.reformat(max(round(width * share), 2), max(round(height * share), 2), _RGB, interpolation="AREA")
    )


def _pixels(frame: av.VideoFrame) -> Pixels:
    return frame.to_ndarray().astype(np.uint8, copy=False)


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """Gives pixels as a JPEG. `quality` is the quantiser, 2 (best) to 31."""
    frame = av.VideoFrame.from_ndarray(pixels, format=_RGB).reformat(format="yuvj420p")
    frame.pts = 0
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuvj420p"
    context.time_base = Fraction(1, 25)
    context.qmin = context.qmax = quality
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def write(roll: Roll, folder: Path) -> None:
    """Writes what is kept of the pictures into a folder.

    `index.json` says where in `<width>.jpgs`, JPEGs one after the other, each picture is, and how the sheets of small
    ones (`sheet-<number>.jpg`) are laid out.
    """
    sizes = []
    for place, width in enumerate(WIDTHS):
        offsets = [0]
        with (folder / f"{width}.jpgs").open("wb") as file:
            for shot in roll.shots:
                offsets.append(offsets[-1] + file.write(shot.jpegs[place]))
        sizes.append({"longest": width, "offsets": offsets})
    tiles = [shot.tile for shot in roll.shots]
    high, wide = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    a_sheet = COLUMNS * ROWS
    for number in range(0, len(tiles), a_sheet):
        (folder / f"sheet-{number // a_sheet}.jpg").write_bytes(
            jpeg(_sheet(tiles[number : number + a_sheet], high, wide), _QUALITY[TILE])
        )
    index = {
        "times": roll.times,
        "sizes": sizes,
        "tile": {"width": wide, "height": high, "columns": COLUMNS, "rows": ROWS},
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _sheet(tiles: list[Pixels], high: int, wide: int) -> Pixels:
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.zeros((rows * high, min(COLUMNS, len(tiles)) * wide, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // COLUMNS * high, place % COLUMNS * wide
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
