"""Reading media: every odd file is made here, with PyAV."""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from services.transcriber.media import MediaReader, downmix
from services.transcriber.pcm import SAMPLE_RATE, read_flac, read_note, to_s16, write_flac
from services.transcriber.problems import MediaProblem, Reason
from tests.support.media import MediaMaker, Tone, silence

Floats = npt.NDArray[np.float32]


def read(path: Path, *, max_seconds: float = 3600) -> tuple[Floats, MediaReader]:
    reader = MediaReader(path, max_seconds=max_seconds)
    blocks = list(reader.blocks())
    return np.concatenate([np.zeros(0, np.float32), *blocks]), reader


def problem(path: Path, **limits: float) -> MediaProblem:
    with pytest.raises(MediaProblem) as caught:
        read(path, **limits)
    return caught.value


def begins(samples: Floats) -> float:
    """Seconds at which it becomes loud."""
    return float(np.flatnonzero(np.abs(samples) > 0.05)[0]) / SAMPLE_RATE


def tone(seconds: float, rate: int, hertz: float = 440) -> Floats:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(
    path: Path,
    pieces: Sequence[tuple[float, Floats]],
    *,
    rate: int = 16_000,
    codec: str = "pcm_s16le",
    layout: str = "mono",
    container: str | None = None,
    tracks: int = 1,
) -> Path:
    """Writes pieces (time in seconds, mono samples), the same in every channel and track."""
    with av.open(str(path), "w", format=container) as out:
        streams: list[Any] = [out.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]
        for stream in streams:
            channels = len(stream.layout.channels)
            for time, samples in pieces:
                size = stream.frame_size or 1024
                for start in range(0, len(samples), size):
                    block = np.repeat(to_s16(samples[start : start + size]), channels)[None]
                    frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
                    frame.sample_rate = rate
                    frame.pts = round(time * rate) + start
                    out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def test_audio_of_a_video_is_read_at_16_khz(media: MediaMaker) -> None:
    samples, reader = read(media.mp4([silence(1), Tone(1)], channels=2))
    assert samples.dtype == np.float32
    assert len(samples) / SAMPLE_RATE == pytest.approx(2, abs=0.1)
    assert begins(samples) == pytest.approx(1, abs=0.03)
    assert reader.duration == pytest.approx(2, abs=0.1)
    assert reader.warnings == []


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 192_000])
def test_any_rate_keeps_its_length_and_pitch(tmp_path: Path, rate: int) -> None:
    samples, _ = read(write(tmp_path / "a.wav", [(0, tone(3, rate))], rate=rate))
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, abs=40)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() / 3 == pytest.approx(440, abs=1)


@pytest.mark.parametrize(("layout", "codec"), [("stereo", "aac"), ("5.1", "aac"), ("7.1", "aac"), ("7.1", "pcm_s16le")])
def test_any_number_of_channels(tmp_path: Path, layout: str, codec: str) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(1, 48_000))], rate=48_000, layout=layout, codec=codec)
    samples, _ = read(path)
    assert np.sqrt((samples[4000:12_000] ** 2).mean()) == pytest.approx(
        0.3 / np.sqrt(2), rel=0.2
    )  # AAC keeps only the bass of the bass channel


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16be", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_any_sample_format_is_scaled_alike(tmp_path: Path, codec: str) -> None:
    samples, _ = read(write(tmp_path / "a.mov", [(0, tone(1, 16_000))], codec=codec))
    assert np.abs(samples).max() == pytest.approx(0.3, rel=0.05)


def test_audio_that_begins_late_keeps_its_time(tmp_path: Path) -> None:
    samples, reader = read(write(tmp_path / "a.mkv", [(600, tone(2, 16_000))]))
    assert begins(samples) == pytest.approx(600, abs=0.02)
    assert reader.duration == pytest.approx(602, abs=0.1)


def test_gaps_become_silence(tmp_path: Path) -> None:
    pieces = [(0.0, tone(1, 16_000)), (4.0, tone(1, 16_000)), (90.0, tone(1, 16_000))]
    samples, _ = read(write(tmp_path / "a.mkv", pieces))
    assert len(samples) / SAMPLE_RATE == pytest.approx(91, abs=0.05)
    assert begins(samples[int(1.5 * SAMPLE_RATE) :]) + 1.5 == pytest.approx(4, abs=0.02)
    assert begins(samples[6 * SAMPLE_RATE :]) + 6 == pytest.approx(90, abs=0.02)


def test_a_transport_stream_begins_at_its_first_timestamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", [(0, tone(2, 48_000))], rate=48_000, codec="mp2", container="mpegts")
    samples, _ = read(path)
    assert begins(samples) < 0.1
    assert len(samples) / SAMPLE_RATE == pytest.approx(2, abs=0.1)


def test_a_stream_recorded_hours_after_it_began_is_as_long_as_the_recording(tmp_path: Path) -> None:
    """As Icecast gives it: the clock of the stream goes on, and what went before is not missing."""
    path = write(tmp_path / "a.ogg", [(36_000, tone(20, 48_000))], rate=48_000, codec="libopus")
    samples, reader = read(path)
    assert reader.warnings == []
    assert begins(samples) < 0.1
    assert reader.duration == pytest.approx(20, abs=0.1)


def test_joined_recordings_go_on_one_after_the_other(tmp_path: Path) -> None:
    part = write(tmp_path / "p.ts", [(0, tone(3, 48_000))], rate=48_000, codec="mp2", container="mpegts").read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part + part)
    samples, reader = read(joined)
    assert len(samples) / SAMPLE_RATE == pytest.approx(6, abs=0.3)
    assert Reason.TIMESTAMPS_RESET in {warning.reason for warning in reader.warnings}


def test_several_tracks_are_said(tmp_path: Path) -> None:
    _, reader = read(write(tmp_path / "a.mkv", [(0, tone(1, 16_000))], tracks=3))
    [warning] = reader.warnings
    assert warning.reason == Reason.SEVERAL_AUDIO_TRACKS
    assert "3 audio tracks" in warning.message


def test_a_truncated_file_is_read_as_far_as_it_goes_and_says_so(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mkv", [(0, tone(60, 16_000))]).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 3])
    samples, reader = read(cut)
    assert 15 < len(samples) / SAMPLE_RATE < 22
    [warning] = reader.warnings
    assert warning.reason == Reason.TRUNCATED_MEDIA
    assert "1:00" in warning.message


def test_an_mp4_cut_before_its_index_says_so(media: MediaMaker, tmp_path: Path) -> None:
    whole = media.mp4([Tone(3)]).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    assert problem(cut).reason == Reason.INCOMPLETE_MEDIA


def test_damage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", [(0, tone(20, 44_100))], rate=44_100, codec="mp3")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    samples, _ = read(path)
    assert 17 < len(samples) / SAMPLE_RATE < 21


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    assert problem(path).reason == Reason.EMPTY_FILE


def test_text_is_no_media(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("To be, or not to be, that is the question.\n" * 50)
    assert problem(path).reason == Reason.NOT_MEDIA


def test_a_video_without_audio(media: MediaMaker) -> None:
    assert problem(media.silent_video(1)).reason == Reason.NO_AUDIO_TRACK


def test_an_audio_track_without_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
    assert problem(path).reason == Reason.EMPTY_AUDIO_TRACK


def test_an_unknown_codec_is_named_as_such(tmp_path: Path) -> None:
    data = write(tmp_path / "a.mkv", [(0, tone(1, 16_000))]).read_bytes()
    path = tmp_path / "unknown.mkv"
    assert b"A_PCM/INT/LIT" in data
    path.write_bytes(data.replace(b"A_PCM/INT/LIT", b"A_XYZ/NEW/FAD"))
    assert problem(path).reason == Reason.UNSUPPORTED_CODEC


def test_media_over_the_length_limit(media: MediaMaker, tmp_path: Path) -> None:
    assert problem(media.mp4([Tone(3)]), max_seconds=2).reason == Reason.MEDIA_TOO_LONG
    late = write(tmp_path / "a.mkv", [(0, tone(1, 16_000)), (50, tone(1, 16_000))])
    assert problem(late, max_seconds=20).reason == Reason.MEDIA_TOO_LONG


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("list.txt", "ffconcat version 1.0\nfile {secret}\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
    ],
)
def test_a_file_cannot_name_other_files_or_addresses(tmp_path: Path, name: str, text: str) -> None:
    secret = write(tmp_path / "secret.wav", [(0, tone(1, 16_000))])
    path = tmp_path / name
    path.write_text(text.format(secret=secret.name))
    assert problem(path).reason == Reason.NOT_MEDIA


def test_channels_that_cancel_out_are_kept() -> None:
    left = tone(1, 16_000)
    assert np.allclose(downmix(np.stack([left, -left])), left)
    assert np.allclose(downmix(np.stack([left, left])), left)
    assert np.allclose(downmix(np.stack([left, np.zeros_like(left)])), left / 2)


def test_numbers_out_of_range_are_clipped() -> None:
    mono = downmix(np.array([[np.nan, 7.0, -7.0, np.inf]], np.float32))
    assert mono.tolist() == [0.0, 1.0, -1.0, 1.0]


def test_flac_gives_back_what_was_written(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 100_001).astype(np.float32)
    write_flac(tmp_path / "a.flac", to_s16(samples))
    write_flac(tmp_path / "b.flac", to_s16(samples))
    assert np.array_equal(read_flac(tmp_path / "a.flac"), to_s16(samples).astype(np.float32) / 32768)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    assert read_note(tmp_path / "a.flac") == ""
    write_flac(tmp_path / "b.flac", to_s16(samples), note="a" * 100_000)
    assert read_note(tmp_path / "b.flac") == "a" * 100_000
    assert np.array_equal(read_flac(tmp_path / "b.flac"), read_flac(tmp_path / "a.flac"))


def test_what_is_no_slice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="slice audio"):
        read_flac(tmp_path / "a.flac")
    write(tmp_path / "b.flac", [(0, tone(1, 48_000))], rate=48_000, codec="flac", layout="stereo")
    with pytest.raises(ValueError, match="2 channels at 48000 Hz"):
        read_flac(tmp_path / "b.flac")
