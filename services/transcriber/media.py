"""Reads the audio of any media file as one stream of samples in the media's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import av.error
import numpy as np
import numpy.typing as npt

from services.transcriber.containers import ABSOLUTE_CLOCK, codec_name, decodable, open_container
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.problems import MediaProblem, MediaWarning, Reason, clock

_ESTIMATED_DURATION: Final = frozenset({"aac", "ac3", "eac3", "mp3", "amr", "dts", "mpegvideo", "loas", "data"})
"""Containers without a header that says how long they are: FFmpeg guesses from the bit rate."""

_TOLERANCE_SECONDS = 0.2
"""Timestamps may differ this much from the count of samples before the samples are moved (jitter, drifting clocks)."""
_RESET_SECONDS = 1.0
"""A timestamp that falls back more than this begins a new count (a joined recording, a wrapped counter)."""
_GAP_SLACK_SECONDS = 60.0
"""A gap that reaches further than this past the length in the header is a wrong timestamp, not a gap."""
_BLOCK_SECONDS = 1.0
_SILENCE_BLOCK = SAMPLE_RATE * 10
_UNREADABLE_PLANES = 8
_CANCELLED = 0.05
"""Two channels whose mean is weaker than this share of each cancel out: one is the other upside down."""


class MediaReader:
    """The audio of one file.

    Audio that begins late keeps its offset and gaps become silence, so a position in the samples is a position in
    the media. Damaged packets are skipped and counted.

    Args:
        path: The file; anything FFmpeg reads, other than lists of other files.
        max_seconds: Longest media accepted.

    Attributes:
        duration: Seconds of the media as far as it could be read; complete after `blocks`.
        warnings: What a person should know; complete after `blocks`.
    """

    def __init__(self, path: Path, *, max_seconds: float) -> None:
        self._path = path
        self._max_seconds = max_seconds
        self.duration = 0.0
        self.warnings: list[MediaWarning] = []

    def blocks(self) -> Iterator[Samples]:
        """Gives the audio from the media's time 0 on, in blocks of about a second.

        Yields:
            Shape (samples,), float32, 16 kHz mono.

        Raises:
            MediaProblem: The file cannot be read as audio.
        """
        if self._path.stat().st_size == 0:
            raise MediaProblem(Reason.EMPTY_FILE, "The file is empty (0 bytes). Upload it again.")
        with open_container(self._path) as container:
            yield from _Decoding(self, container, self._choose_track(container)).run()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def max_seconds(self) -> float:
        """Longest media accepted."""
        return self._max_seconds

    def _choose_track(self, container: av.container.InputContainer) -> av.AudioStream:
        tracks = list(container.streams.audio)
        if not tracks:
            message = (
                "The video has no audio track, so there is no speech to find."
                if container.streams.video
                else "The file has no audio track."
            )
            raise MediaProblem(Reason.NO_AUDIO_TRACK, message)
        usable = [track for track in tracks if decodable(track)]
        if not usable:
            names = ", ".join(sorted({codec_name(track) for track in tracks}))
            message = f"The audio is in a codec that is not supported here ({names}). Convert it, to AAC for example."
            raise MediaProblem(Reason.UNSUPPORTED_CODEC, message)
        # Without a default among them the first: that is what players play.
        chosen = next((track for track in usable if track.disposition & av.stream.Disposition.default), usable[0])
        if len(tracks) > 1:
            number = tracks.index(chosen) + 1
            language = chosen.language
            named = f"{number} ({language})" if language and language != "und" else f"{number}"
            message = f"The file has {len(tracks)} audio tracks; track {named} was transcribed, the others were not."
            self.warnings.append(MediaWarning(Reason.SEVERAL_AUDIO_TRACKS, message))
        return chosen


class _Decoding:
    """One pass over the packets of a file."""

    def __init__(self, reader: MediaReader, container: av.container.InputContainer, track: av.AudioStream) -> None:
        self._reader = reader
        self._container = container
        self._track = track
        self._formats = set(container.format.name.split(","))
        absolute = bool(self._formats & ABSOLUTE_CLOCK)
        self._origin = 0.0 if absolute or container.start_time is None else container.start_time / av.time_base
        self._header_seconds = container.duration / av.time_base if container.duration else None
        if "ogg" in self._formats and self._origin > _RESET_SECONDS:
            # A recording of a stream that was on the air before. FFmpeg counts what went before as length, or not.
            self._header_seconds = None
        self._track_seconds = (
            float(track.duration * track.time_base) if track.duration and track.time_base is not None else None
        )
        self._units: dict[int, float] = {}
        self._rate = 0
        self._emitted = 0  # samples given out, 16 kHz
        self._pending: list[npt.NDArray[np.float32]] = []  # shape (channels, samples), at self._rate
        self._pending_samples = 0
        self._resampler: av.AudioResampler | None = None
        self._packer: av.AudioResampler | None = None
        self._packer_form: tuple[str, str, int] | None = None
        self._next = 0.0  # media time of the next sample
        self._shift = 0.0  # added to timestamps after a reset
        self._frame_end: float | None = None  # by timestamps, before the shift
        self._last_seen = 0.0  # end of the last packet of any track
        self._decoded_frames = 0
        self._damaged = 0
        self._resets = 0
        self._broke_off = False

    def run(self) -> Iterator[Samples]:
        self._check_length(self._header_seconds or 0.0)
        for frame in self._frames():
            yield from self._take(frame)
            self._check_length(self._next)
        yield from self._flush()
        self._conclude()

    def _check_length(self, seconds: float) -> None:
        limit = self._reader.max_seconds
        if seconds > limit:
            message = f"The media is longer ({clock(seconds)}) than is accepted here ({clock(limit)}). Split it."
            raise MediaProblem(Reason.MEDIA_TOO_LONG, message)

    def _frames(self) -> Iterator[av.AudioFrame]:
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError):
                # Nothing after this can be found; what came before is good.
                self._broke_off = True
                return
            if packet.pts is not None and (unit := self._unit_of(packet)):
                self._last_seen = max(self._last_seen, (packet.pts + (packet.duration or 0)) * unit - self._origin)
            if packet.stream is not self._track and packet.stream.index != self._track.index:
                continue
            if packet.is_corrupt:
                self._damaged += 1
            try:
                frames = self._track.decode(packet)
            except (av.FFmpegError, ValueError, OverflowError):
                self._damaged += 1
                continue
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    self._decoded_frames += 1
                    yield frame

    def _unit_of(self, packet: av.Packet[Any]) -> float:
        """Gives the unit of a packet's timestamps, in seconds; kept, since asking for it makes a fraction each time."""
        index = packet.stream_index
        if index not in self._units:
            self._units[index] = float(packet.time_base or 0)
        return self._units[index]

    def _take(self, frame: av.AudioFrame) -> Iterator[Samples]:
        samples = _channels(self._packed(frame))
        if frame.sample_rate != self._rate or (self._pending and samples.shape[0] != self._pending[0].shape[0]):
            yield from self._flush()
            self._rate = frame.sample_rate
        first = self._frame_end is None
        time = self._media_time(frame, samples.shape[1] / self._rate)
        ahead = time - self._next
        if ahead > _TOLERANCE_SECONDS or (first and ahead > 0):
            yield from self._flush()
            yield from self._silence_until(time)
        elif ahead < -_TOLERANCE_SECONDS or (first and ahead < 0):
            samples = samples[:, min(samples.shape[1], round(-ahead * self._rate)) :]
        self._next += samples.shape[1] / self._rate
        self._pending.append(samples)
        self._pending_samples += samples.shape[1]
        if self._pending_samples >= _BLOCK_SECONDS * self._rate:
            yield from self._resample()

    def _packed(self, frame: av.AudioFrame) -> av.AudioFrame:
        """Gives the frame with its channels interleaved where PyAV cannot read them apart.

        PyAV 18 looks for the end of the planes past FFmpeg's table of eight, and crashes on a frame with eight or more.
        """
        if not frame.format.is_planar or frame.layout.nb_channels < _UNREADABLE_PLANES:
            return frame
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._packer is None or self._packer_form != form:
            self._packer = av.AudioResampler(format="flt", layout=frame.layout.name, rate=frame.sample_rate)
            self._packer_form = form
        # Made without its timestamps: the graph inside would put gaps right in a way of its own.
        pts, frame.pts = frame.pts, None
        packed = self._packer.resample(frame)[0]
        packed.pts, packed.time_base = pts, frame.time_base
        return packed

    def _media_time(self, frame: av.AudioFrame, seconds: float) -> float:
        """Gives the media time at which a frame begins, over resets and nonsense in its timestamp."""
        if (time := frame.time) is None:
            stamp = self._next - self._shift if self._frame_end is None else self._frame_end
        else:
            stamp = time - self._origin
        fell_back = self._frame_end is not None and stamp < self._frame_end - _RESET_SECONDS
        furthest = max(self._header_seconds or 0.0, self._last_seen, self._next)
        if self._header_seconds is None or self._formats & _ESTIMATED_DURATION:
            furthest = self._reader.max_seconds
        if fell_back or stamp + self._shift > furthest + _GAP_SLACK_SECONDS:
            self._shift = self._next - stamp
            self._resets += 1
        self._frame_end = stamp + seconds
        return stamp + self._shift

    def _silence_until(self, time: float) -> Iterator[Samples]:
        target = round(time * SAMPLE_RATE)
        self._check_length(time)
        while self._emitted < target:
            count = min(_SILENCE_BLOCK, target - self._emitted)
            self._emitted += count
            yield np.zeros(count, np.float32)
        self._next = time

    def _resample(self) -> Iterator[Samples]:
        if not self._pending_samples:
            self._pending.clear()
            return
        mono = downmix(np.concatenate(self._pending, axis=1))
        self._pending.clear()
        self._pending_samples = 0
        if self._rate == SAMPLE_RATE:
            yield self._count(mono)
            return
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="flt", layout="mono")
        frame.sample_rate = self._rate
        for part in self._resampler.resample(frame):
            yield self._count(part.to_ndarray().reshape(-1).astype(np.float32, copy=False))

    def _flush(self) -> Iterator[Samples]:
        yield from self._resample()
        if self._resampler is not None:
            for part in self._resampler.resample(None):
                yield self._count(part.to_ndarray().reshape(-1).astype(np.float32, copy=False))
            self._resampler = None

    def _count(self, samples: Samples) -> Samples:
        self._emitted += len(samples)
        return samples

    def _conclude(self) -> None:
        reader = self._reader
        if not self._decoded_frames:
            if self._damaged:
                message = "None of the audio in the file could be decoded: it is damaged. Upload a sound copy."
                raise MediaProblem(Reason.DAMAGED_AUDIO, message)
            raise MediaProblem(Reason.EMPTY_AUDIO_TRACK, "The file has an audio track, but there is no sound in it.")
        audio_seconds = self._emitted / SAMPLE_RATE
        reader.duration = max(audio_seconds, self._last_seen)
        promised = self._promised_seconds()
        missing = promised - reader.duration
        track_missing = (self._track_seconds or 0.0) - audio_seconds if promised else 0.0
        if self._broke_off or max(missing, track_missing) > max(2.0, 0.02 * promised):
            whole = f" of {clock(promised)}" if promised > audio_seconds + 1 else ""
            message = (
                f"The file breaks off: {clock(audio_seconds)}{whole} could be read and is transcribed."
                " Upload the whole file for the rest."
            )
            reader.warnings.append(MediaWarning(Reason.TRUNCATED_MEDIA, message))
        if self._damaged:
            message = f"{self._damaged} damaged piece(s) of the audio were skipped; words may be missing there."
            reader.warnings.append(MediaWarning(Reason.DAMAGED_MEDIA, message))
        if self._resets:
            message = (
                f"The timestamps in the file start over {self._resets} time(s), as in joined recordings;"
                " times after that are counted on and may differ from a player's."
            )
            reader.warnings.append(MediaWarning(Reason.TIMESTAMPS_RESET, message))

    def _promised_seconds(self) -> float:
        """Gives how long the file says it is, or 0 where that is only a guess."""
        if self._header_seconds is None:
            return 0.0
        if "mp3" in self._formats and _has_mp3_length(self._reader.path):
            return self._header_seconds
        if self._formats & _ESTIMATED_DURATION:
            return 0.0
        return self._header_seconds


def downmix(channels: npt.NDArray[np.float32]) -> Samples:
    """Mixes channels to one: their mean, which keeps a voice on any one of them.

    Two channels of which one is the other upside down would cancel out; there, half the difference is taken.

    Args:
        channels: Shape (channels, samples), float32.

    Returns:
        Shape (samples,), float32, in [-1, 1].
    """
    if len(channels) == 1:
        mono = channels[0]
    else:
        mono = channels.mean(axis=0)
        if len(channels) == 2 and _power(mono) < _CANCELLED**2 * min(_power(channels[0]), _power(channels[1])):
            mono = (channels[0] - channels[1]) / 2
    mixed: Samples = np.clip(np.nan_to_num(mono), -1.0, 1.0).astype(np.float32, copy=False)
    return mixed


def _power(samples: Samples) -> float:
    return float(np.dot(samples, samples))


def _channels(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """Gives a frame as shape (channels, samples), float32 in [-1, 1], whatever its sample format."""
    array: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    samples = array.astype(np.float32)
    if array.dtype == np.uint8:
        samples = (samples - 128.0) / 128.0
    elif array.dtype.kind == "i":
        samples /= 2.0 ** (8 * array.dtype.itemsize - 1)
    return samples


def _has_mp3_length(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(256 * 1024)
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))
