"""Voice activity: the model that comes with faster-whisper, on a committed sample."""

from pathlib import Path

import numpy as np

from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.voice import FRAME, SPEECH, VoiceActivity

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "how-gps-finds-you.mp4"


def speech(seconds: int) -> Samples:
    audio = np.concatenate(list(MediaReader(SAMPLE, max_seconds=3600).blocks()))
    return audio[: seconds * SAMPLE_RATE // FRAME * FRAME]


def test_speech_is_heard_and_noise_and_tones_are_not() -> None:
    talk = VoiceActivity().probabilities(speech(20))
    assert (talk >= SPEECH).mean() > 0.4
    noise = np.random.default_rng(3).normal(0, 0.05, FRAME * 400).astype(np.float32)
    assert (VoiceActivity().probabilities(noise) >= SPEECH).mean() < 0.02
    tone = (0.3 * np.sin(np.arange(FRAME * 400) * 2 * np.pi * 440 / SAMPLE_RATE)).astype(np.float32)
    assert (VoiceActivity().probabilities(tone) >= SPEECH).mean() < 0.02


def test_in_pieces_it_hears_what_it_hears_at_once() -> None:
    audio = speech(10) + np.random.default_rng(3).normal(0, 0.001, len(speech(10))).astype(np.float32)
    whole = VoiceActivity().probabilities(audio)
    voice = VoiceActivity()
    pieces = [voice.probabilities(audio[i : i + FRAME * 17]) for i in range(0, len(audio), FRAME * 17)]
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-4)


def test_silence_around_speech_is_silence() -> None:
    audio = np.concatenate([np.zeros(FRAME * 50, np.float32), speech(5), np.zeros(FRAME * 50, np.float32)])
    heard = VoiceActivity().probabilities(audio)
    assert len(heard) == len(audio) // FRAME
    assert not heard[:50].any()
    assert not heard[-50:].any()
    assert heard[50:-50].max() > 0.9


def test_nothing_gives_nothing() -> None:
    assert VoiceActivity().probabilities(np.zeros(0, np.float32)).shape == (0,)
