"""Makes of media that browsers do not play what they do: taken over where that is possible, encoded anew where not.

Times stay what they are in the media (`media.py`), so that a moment that a search gives is the same in both: gaps in
the sound become silence, timestamps that start over are counted on, and a container that begins later than 0 is moved
to 0 as players do.
"""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.audio.fifo
import av.error

from services.transcriber.containers import ABSOLUTE_CLOCK, decodable
from services.transcriber.pictures import moving_track
from services.transcriber.playability import Plan
from services.transcriber.problems import MediaProblem, Reason

LONGEST: Final = 1280
SHORTEST: Final = 720
"""Sides of the picture at most, whichever way up it is, in pixels."""
_FRAME_SECONDS: Final = 1 / 31
"""Frames nearer to each other than that are left out: thirty a second are enough for a talk."""
_RATE: Final = 48_000
_TICKS: Final = 90_000
_TOLERANCE_SECONDS: Final = 0.2
_RESET_SECONDS: Final = 1.0
_LEAP_SECONDS: Final = 3600.0
_SILENCE_SECONDS: Final = 1.0
_FIRST_PACKETS: Final = 300
_LOOK_AHEAD: Final = 64

_VIDEO: Final = {
    "mp4": (
        ("libx264", {"preset": "superfast", "crf": "26", "profile": "high"}),
        ("libopenh264", {"allow_skip_frames": "1"}),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "36", "b": "0"}),
    ),
    "webm": (
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "36", "b": "0"}),
        ("libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "24"}),
    ),
}
_AUDIO: Final = {"mp4": ("aac", "libopus"), "webm": ("libopus", "libvorbis")}
_TYPES: Final = {("mp4", True): "video/mp4", ("mp4", False): "audio/mp4"} | {
    ("webm", True): "video/webm",
    ("webm", False): "audio/webm",
}

Step = Callable[[float], None]
"""Is told how far the work is, in seconds of the media, and may make it wait."""


@dataclass(slots=True)
class Clock:
    """Turns timestamps into times that never start over.

    Attributes:
        origin: Timestamp, in seconds, of the media's time 0.
    """

    origin: float
    _shift: float = 0.0
    _end: float = 0.0
    _begun: bool = False

    def time(self, stamp: float | None, seconds: float) -> float:
        """Gives the time of what begins at `stamp` (seconds; None where it has none) and lasts so long."""
        at = self._end if stamp is None else stamp - self.origin + self._shift
        if self._begun and not self._end - _RESET_SECONDS <= at <= self._end + _LEAP_SECONDS:
            self._shift += self._end - at
            at = self._end
        self._begun = True
        self._end = max(self._end, at + seconds)
        return at


def content_type(plan: Plan, *, moving: bool) -> str:
    """Gives the MIME type of what a plan makes."""
    return _TYPES[plan.container, moving]


def picture_size(media: av.container.InputContainer) -> tuple[int, int] | None:
    """Gives width and height of the picture to be made of a file's; None where none of it can be decoded.

    The file is read on: open it again to render it.
    """
    track = moving_track(media)
    if track is None or not decodable(track):
        return None
    track.thread_type = "NONE"
    for packet in itertools.islice(_packets(media, [track]), _FIRST_PACKETS):
        try:
            frames = track.decode(packet)
        except (av.FFmpegError, ValueError, OverflowError):
            continue
        if frames:
            return _sides(frames[0], track)
    return None


def _sides(frame: av.VideoFrame, track: av.VideoStream) -> tuple[int, int]:
    shape = track.codec_context.sample_aspect_ratio
    ratio = float(shape) if shape and 0.1 < float(shape) < 10 else 1.0
    wide, high = frame.width * ratio, float(frame.height)
    if round(frame.rotation / 90) % 2:
        wide, high = high, wide
    share = min(LONGEST / max(wide, high), SHORTEST / min(wide, high), 1.0)
    return max(round(wide * share / 2) * 2, 16), max(round(high * share / 2) * 2, 16)


def render(
    media: av.container.InputContainer,
    target: Path,
    plan: Plan,
    *,
    size: tuple[int, int] | None,
    threads: int,
    step: Step,
) -> None:
    """Makes a rendition.

    Args:
        media: What is to be played, just opened.
        size: What `picture_size` gives for it.
        target: The file to write.
        plan: What is to be made.
        threads: Threads that decode and encode.
        step: Is called again and again.

    Raises:
        MediaProblem: Nothing of it can be decoded.
        av.FFmpegError: It cannot be written so; where the plan takes something over, encoding it may help.
    """
    video = moving_track(media)
    video = video if plan.copy_video or size is not None else None
    audio = _sound(media)
    if video is None and audio is None:
        raise MediaProblem(Reason.UNSUPPORTED_CODEC, "Neither sound nor picture of the media can be decoded here.")
    absolute = bool(set(media.format.name.split(",")) & ABSOLUTE_CLOCK)
    origin = 0.0 if absolute or media.start_time is None else media.start_time / av.time_base
    options = {"movflags": "+faststart"} if plan.container == "mp4" else {"cues_to_front": "1"}
    with av.open(str(target), "w", format=plan.container, options=options) as out:
        ways: dict[int, _Way] = {}
        if video is not None:
            ways[video.index] = (
                _Copied(out, video, origin)
                if plan.copy_video or size is None
                else _Picture(out, video, origin, container=plan.container, size=size, threads=threads)
            )
        if audio is not None:
            ways[audio.index] = (
                _Copied(out, audio, origin) if plan.copy_audio else _Sound(out, audio, origin, plan.container)
            )
        written = 0
        for packet in _packets(media, [track for track in (video, audio) if track is not None]):
            way = ways[packet.stream_index]
            for made in way.take(packet):
                out.mux(made)
                written += 1
            step(way.seconds)
        for way in ways.values():
            for made in way.finish():
                out.mux(made)
                written += 1
        if not written:
            raise MediaProblem(Reason.DAMAGED_MEDIA, "Nothing in the media could be decoded: it is damaged.")


def _sound(media: av.container.InputContainer) -> av.AudioStream | None:
    """The track that is transcribed: the default one among those that can be decoded, or the first."""
    usable = [track for track in media.streams.audio if decodable(track)]
    default = [track for track in usable if track.disposition & av.stream.Disposition.default]
    return next(iter(default or usable), None)


def _packets(
    media: av.container.InputContainer, tracks: list[av.VideoStream | av.AudioStream]
) -> Iterator[av.Packet[Any]]:
    packets = media.demux(tracks)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError, OSError):
            return  # nothing after this can be found; what came before is good
        if packet.size:
            yield packet


class _Way(ABC):
    """The way of one track into the rendition."""

    seconds = 0.0
    """How far it is."""

    @abstractmethod
    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        """Gives what a packet of the media becomes."""

    @abstractmethod
    def finish(self) -> Iterator[av.Packet[Any]]:
        """Gives what is left at the end."""


class _Copied(_Way):
    """Takes packets over as they are, moved to the media's time 0."""

    def __init__(
        self, out: av.container.OutputContainer, track: av.VideoStream | av.AudioStream, origin: float
    ) -> None:
        self._stream = out.add_stream_from_template(track)
        unit = track.time_base or Fraction(1, _TICKS)
        self._unit = float(unit)
        self._shift = round(origin / unit)
        self._order = DecodingOrder() if isinstance(track, av.VideoStream) else None

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        if packet.pts is None:  # of a damaged file, or of one that counts packets only
            if packet.dts is None:
                return
            packet.pts = packet.dts
        packet.pts -= self._shift
        packet.dts = packet.pts if packet.dts is None or self._order else packet.dts - self._shift
        self.seconds = packet.pts * self._unit
        for one in self._order.put(packet) if self._order else (packet,):
            one.stream = self._stream
            yield one

    def finish(self) -> Iterator[av.Packet[Any]]:
        for one in self._order.rest() if self._order else ():
            one.stream = self._stream
            yield one


class DecodingOrder:
    """Gives packets, which come as they are to be decoded, the time for that, which Matroska does not store.

    That is the time at which the packet so many places before it, in order of showing, is shown: as many as make it no
    later than its own. How many is seen from the first packets.
    """

    def __init__(self) -> None:
        self._held: list[av.Packet[Any]] = []
        self._shown: list[int] = []
        self._behind: int | None = None
        self._step = 1
        self._given = 0
        self._first = 0

    def put(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        """Takes a packet and gives those whose time is known."""
        assert packet.pts is not None
        heapq.heappush(self._shown, packet.pts)
        self._held.append(packet)
        if self._behind is None:
            if len(self._held) < _LOOK_AHEAD:
                return
            self._measure()
        yield from self._timed()

    def rest(self) -> Iterator[av.Packet[Any]]:
        """Gives what is left at the end."""
        if self._behind is None:
            self._measure()
        yield from self._timed()

    def _measure(self) -> None:
        stamps = [packet.pts or 0 for packet in self._held]
        ordered = sorted(stamps)
        places = {stamp: place for place, stamp in enumerate(ordered)}
        self._behind = max((place - places[stamp] for place, stamp in enumerate(stamps)), default=0)
        steps = [after - before for before, after in itertools.pairwise(ordered) if after > before]
        self._step = min(steps, default=1)
        self._first = ordered[0] if ordered else 0

    def _timed(self) -> Iterator[av.Packet[Any]]:
        assert self._behind is not None
        for packet in self._held:
            if self._given < self._behind:
                packet.dts = self._first - (self._behind - self._given) * self._step
            else:
                packet.dts = heapq.heappop(self._shown)
            self._given += 1
            yield packet
        self._held.clear()


class _Picture(_Way):
    """Decodes and encodes the picture: upright, its pixels square, no larger and no quicker than need be."""

    def __init__(
        self,
        out: av.container.OutputContainer,
        track: av.VideoStream,
        origin: float,
        *,
        container: str,
        size: tuple[int, int],
        threads: int,
    ) -> None:
        self._track = track
        track.thread_type = "AUTO" if threads > 1 else "NONE"
        track.codec_context.thread_count = threads
        self._clock = Clock(origin)
        self._last = -1.0
        self._graph: av.filter.Graph | None = None
        self._form: tuple[Any, ...] = ()
        name, options = next((one for one in _VIDEO[container] if _has(one[0])), ("", {}))
        if not name:
            raise MediaProblem("NO_ENCODER", "FFmpeg has no encoder here for video that browsers play.")
        stream = out.add_stream(name, rate=30, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.time_base = Fraction(1, _TICKS)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.gop_size = 150
        stream.codec_context.thread_count = threads
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        self._stream = stream
        self._size = size

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        try:
            frames = self._track.decode(packet)
        except (av.FFmpegError, ValueError, OverflowError):
            return
        for frame in frames:
            yield from self._encode(frame)

    def finish(self) -> Iterator[av.Packet[Any]]:
        try:
            frames = self._track.decode(None)
        except (av.FFmpegError, ValueError, OverflowError):
            frames = []
        for frame in frames:
            yield from self._encode(frame)
        if self._last >= 0:
            yield from self._stream.encode(None)

    def _encode(self, frame: av.VideoFrame) -> Iterator[av.Packet[Any]]:
        at = self._clock.time(frame.time, 0.0)
        self.seconds = max(at, 0.0)
        if at < 0 or (self._last >= 0 and at - self._last < _FRAME_SECONDS):
            return
        self._last = at
        shown = self._upright(frame)
        shown.pts = round(at * _TICKS)
        shown.time_base = Fraction(1, _TICKS)
        shown.pict_type = av.video.frame.PictureType.NONE
        yield from self._stream.encode(shown)

    def _upright(self, frame: av.VideoFrame) -> av.VideoFrame:
        form = (frame.width, frame.height, frame.format.name, frame.rotation)
        if self._graph is None or form != self._form:
            self._form, self._graph = form, self._filters(frame)
        frame.pts = None  # given anew above
        self._graph.push(frame)
        shown = self._graph.pull()
        assert isinstance(shown, av.VideoFrame)
        return shown

    def _filters(self, frame: av.VideoFrame) -> av.filter.Graph:
        turns = round(frame.rotation / 90) % 4  # counter-clockwise
        width, height = self._size
        graph = av.filter.Graph()
        chain = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, _TICKS))
        ]
        for name, value in (
            *([("transpose", "cclock")] * turns),
            ("scale", f"{width}:{height}"),
            ("setsar", "1"),
            ("format", "yuv420p"),
        ):
            chain.append(graph.add(name, value))
        chain.append(graph.add("buffersink"))
        graph.link_nodes(*chain).configure()
        return graph


class _Sound(_Way):
    """Decodes and encodes the sound as one stream without gaps."""

    def __init__(self, out: av.container.OutputContainer, track: av.AudioStream, origin: float, container: str) -> None:
        self._track = track
        self._clock = Clock(origin)
        name = next((one for one in _AUDIO[container] if _has(one)), _AUDIO[container][0])
        stream = out.add_stream(name, rate=_RATE)
        assert isinstance(stream, av.AudioStream)
        self._layout = "mono" if track.codec_context.layout.nb_channels == 1 else "stereo"
        stream.layout = self._layout
        stream.bit_rate = 64_000 if self._layout == "mono" else 128_000
        stream.time_base = Fraction(1, _RATE)
        self._stream = stream
        self._format = stream.codec_context.format.name
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[Any, ...] = ()
        self._fifo = av.audio.fifo.AudioFifo()
        self._put = 0
        """Samples put into the queue until now, which is where the next one belongs."""
        self._encoded = 0

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        try:
            frames = self._track.decode(packet)
        except (av.FFmpegError, ValueError, OverflowError):
            return
        for frame in frames:
            if frame.samples and frame.sample_rate:
                yield from self._add(frame)

    def finish(self) -> Iterator[av.Packet[Any]]:
        yield from self._resampled(None)
        yield from self._encoding(all_of_it=True)
        if self._encoded:
            yield from self._stream.encode(None)

    def _add(self, frame: av.AudioFrame) -> Iterator[av.Packet[Any]]:
        at = self._clock.time(frame.time, frame.samples / frame.sample_rate)
        self.seconds = max(at, 0.0)
        ahead = at - self._put / _RATE
        if ahead < -_TOLERANCE_SECONDS:
            return  # said already
        if ahead > _TOLERANCE_SECONDS or (self._put == 0 and ahead > 0):
            yield from self._resampled(None)
            yield from self._silence(round(at * _RATE))
        yield from self._resampled(frame)

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[av.Packet[Any]]:
        if frame is not None:
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if self._resampler is not None and form != self._form:
                yield from self._resampled(None)
            if self._resampler is None:
                self._resampler = av.AudioResampler(format=self._format, layout=self._layout, rate=_RATE)
                self._form = form
            frame.pts = None  # it would put gaps right in a way of its own
        if self._resampler is None:
            return
        for part in self._resampler.resample(frame):
            self._queue(part)
            yield from self._encoding()
        if frame is None:
            self._resampler = None

    def _silence(self, until: int) -> Iterator[av.Packet[Any]]:
        while self._put < until:
            part = av.AudioFrame(
                format=self._format,
                layout=self._layout,
                samples=min(until - self._put, round(_SILENCE_SECONDS * _RATE)),
            )
            for plane in part.planes:
                plane.update(bytes(plane.buffer_size))
            part.sample_rate = _RATE
            self._queue(part)
            self.seconds = self._put / _RATE
            yield from self._encoding()

    def _queue(self, part: av.AudioFrame) -> None:
        self._put += part.samples
        part.pts = None
        self._fifo.write(part)

    def _encoding(self, *, all_of_it: bool = False) -> Iterator[av.Packet[Any]]:
        size = self._stream.codec_context.frame_size or 1024
        while (frame := self._fifo.read(size, partial=all_of_it)) is not None:
            frame.pts = self._encoded
            frame.time_base = Fraction(1, _RATE)
            self._encoded += frame.samples
            yield from self._stream.encode(frame)


def _has(encoder: str) -> bool:
    try:
        av.codec.Codec(encoder, "w")
    except (av.FFmpegError, ValueError):
        return False
    return True
