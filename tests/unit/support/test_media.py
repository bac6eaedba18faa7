"""The generated media are what their names say, by the decoder the transcriber uses."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.media import MediaMaker, Tone, silence


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """All samples of the first audio track, shape (channels, samples), float32, and their rate in Hz."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        # Packed, not planar: PyAV 18.1 crashes in to_ndarray() of a planar frame with eight channels.
        resampler = av.AudioResampler(format="flt")
        blocks = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        packed = np.concatenate(blocks, axis=1)
        return packed.reshape(-1, track.channels).T, track.rate


def test_wav_has_the_tone_and_then_the_silence(media: MediaMaker) -> None:
    samples, rate = decoded(media.wav([Tone(1.0, 440.0), silence(0.5)], sample_rate=8000))
    assert (rate, samples.shape) == (8000, (1, 12_000))
    spectrum = np.abs(np.fft.rfft(samples[0, :8000]))
    assert int(spectrum.argmax()) == 440
    assert np.abs(samples[0, 8000:]).max() == 0


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_mp4_has_sound_in_every_channel_and_a_picture(media: MediaMaker, channels: int) -> None:
    path = media.mp4([Tone(1.0)], channels=channels)
    samples, rate = decoded(path)
    assert rate == 44_100
    assert samples.shape[0] == channels
    assert samples.shape[1] == pytest.approx(44_100, abs=2048)
    assert (np.abs(samples).max(axis=1) > 0.05).all()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_silent_video_has_no_audio_track(media: MediaMaker) -> None:
    with av.open(str(media.silent_video())) as container:
        assert not container.streams.audio
        assert len(container.streams.video) == 1


def test_the_same_arguments_make_the_file_once(media: MediaMaker) -> None:
    first = media.wav([Tone(0.1)])
    made_at = first.stat().st_mtime_ns
    assert media.wav([Tone(0.1)]).stat().st_mtime_ns == made_at
