"""faster-whisper itself: the packaged tiny English model on committed samples, the base model on the shared media."""

import json
import re
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from earmark.local import models
from services.common.speech import SpeechOptions
from services.transcriber import batched_whisper
from services.transcriber.honesty import judged
from services.transcriber.lanes import Lanes
from services.transcriber.media import MediaReader
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.problems import MediaProblem
from services.transcriber.recognizer import Instructions, NotAvailable, Recognition
from services.transcriber.slicer import Slicer, SlicingLimits
from services.transcriber.voice import VoiceActivity
from services.transcriber.whisper import WhisperOptions, WhisperRecognizer
from tests.unit.transcriber import recognizer_conformance as conformance

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def load(path: Path, seconds: float | None = None) -> Samples:
    samples = np.concatenate(list(MediaReader(path, max_seconds=3600).blocks()))
    return samples if seconds is None else samples[: round(seconds * SAMPLE_RATE)]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def said(recognition: Recognition) -> str:
    return plain(" ".join(segment.text for segment in recognition.segments))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> WhisperRecognizer:
    try:
        path = models.ensure(tmp_path_factory.mktemp("models"), asr=models.WHISPER_TINY_EN).asr
    except models.ModelNotInstalled as missing:
        pytest.skip(str(missing))
    return WhisperRecognizer(WhisperOptions(path, device="cpu"))


@pytest.fixture(scope="module")
def base(model_paths: models.ModelPaths) -> WhisperRecognizer:
    return WhisperRecognizer(WhisperOptions(model_paths.asr, device="cpu"))


def test_it_conforms(tiny: WhisperRecognizer) -> None:
    conformance.check_speech(tiny, load(SAMPLES / "how-gps-finds-you.mp4", 10))
    conformance.check_no_speech(tiny)
    conformance.check_options(tiny, load(SAMPLES / "how-gps-finds-you.mp4", 10))


def test_in_more_threads_it_says_the_same(tiny: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched_whisper, "_BATCH", 1)
    speech = load(SAMPLES / "brewing-better-coffee.mp4", 33)  # two windows
    alone = tiny.recognize(speech, Instructions())
    lanes = Lanes(2)
    lanes.allow(2)
    assert WhisperRecognizer(tiny._options, lanes).recognize(speech, Instructions()) == alone


def test_words_stand_where_they_are_said(tiny: WhisperRecognizer) -> None:
    """The same words, asked for after 20 s of silence and noise, are 20 s later to a quarter of a second."""
    speech = load(SAMPLES / "brewing-better-coffee.mp4", 20)
    noise = np.random.default_rng(0).normal(0, 0.003, 20 * SAMPLE_RATE).astype(np.float32)
    noise[: 10 * SAMPLE_RATE] = 0
    early = tiny.recognize(speech, Instructions())
    late = tiny.recognize(np.concatenate([noise, speech]), Instructions())
    first = [word for segment in early.segments for word in segment.words]
    second = [word for segment in late.segments for word in segment.words]
    # The model may take a word for another one; where it hears the same ones they must stand in the same place.
    matcher = SequenceMatcher(None, [plain(word.text) for word in first], [plain(word.text) for word in second])
    assert matcher.ratio() > 0.85
    shifts = [
        second[block.b + i].start - first[block.a + i].start - 20
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]
    assert np.abs(np.median(shifts)) < 0.1
    assert np.quantile(np.abs(shifts), 0.9) < 0.3


def test_no_text_for_noise(tiny: WhisperRecognizer) -> None:
    generator = np.random.default_rng(0)
    for level in (0.002, 0.05, 0.3):
        noise = np.clip(generator.normal(0, level, 20 * SAMPLE_RATE), -1, 1).astype(np.float32)
        assert tiny.recognize(noise, Instructions()).segments == []


def test_a_model_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="cannot be loaded"):
        WhisperRecognizer(WhisperOptions(str(tmp_path), device="cpu"))


@pytest.mark.parametrize(
    ("name", "words", "language"),
    [
        ("audio/jfk.flac", "ask what you can do for your country", "en"),
        ("audio/leopard_de.wav", "der hinter diesem", "de"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                ("audio/leopard_fr.wav", "il devient conservateur des eaux", "fr"),
                ("video/classtranscribe_short.mp4", "i like to eat nuts and berries", "en"),
                ("video/multi_audio_track.mp4", "this is the first audio track", "en"),
                ("nasty/eight_channels.m4a", "front left front right", "en"),
                ("nasty/video_longer_than_audio_1fps.mov", "comparison expressions", "en"),
            )
        ),
    ],
)
def test_speech_of_the_shared_media(
    base: WhisperRecognizer, shared_media: Path, name: str, words: str, language: str
) -> None:
    recognition = base.recognize(load(shared_media / name), Instructions())
    assert words in said(recognition)
    assert recognition.language == language


def test_no_word_is_lost_after_a_minute_of_silence(base: WhisperRecognizer, shared_media: Path) -> None:
    """After that much of nothing, voice activity detection takes the soft "ask not" for more of it."""
    speech = load(shared_media / "audio/jfk.flac")
    recognition = base.recognize(np.concatenate([np.zeros(60 * SAMPLE_RATE, np.float32), speech]), Instructions())
    assert "my fellow americans ask not" in said(recognition)
    assert 59.5 <= recognition.segments[0].start < 61


@pytest.mark.parametrize(
    "name", ["bigbuckbunny_20s_music_no_speech.mp4", "noise_no_speech_8s.wav", "silence_60s_audio_only.mp4"]
)
def test_no_text_where_nobody_speaks(base: WhisperRecognizer, shared_media: Path, name: str) -> None:
    assert base.recognize(load(shared_media / "nasty" / name), Instructions()).segments == []


@pytest.mark.slow
def test_two_languages_in_one_file_are_both_heard(base: WhisperRecognizer, shared_media: Path) -> None:
    recognition = base.recognize(load(shared_media / "audio/multilingual_en_de.mp3"), Instructions())
    text = said(recognition)
    assert "permission is hereby granted free of charge" in text
    assert "das recht die software zu verwenden" in text
    assert set(recognition.spoken) == {"en", "de"}
    # Also the sentence that stands in the window of the other language.
    by_language = dict.fromkeys(recognition.spoken, "")
    for segment in recognition.segments:
        by_language[segment.language] += f" {plain(segment.text)}"
    assert "substantial portions of the software" in by_language["en"]
    assert "substantial" not in by_language["de"]


@pytest.mark.slow
def test_a_language_every_few_seconds_loses_no_speech(base: WhisperRecognizer, shared_media: Path) -> None:
    """Whisper writes the first language of a window and leaves the others out."""
    pause = np.zeros(SAMPLE_RATE, np.float32)
    order = ("en", "de", "fr", "es", "ja")
    pieces = [part for code in order for part in (load(shared_media / f"audio/leopard_{code}.wav"), pause)]
    recognition = base.recognize(np.concatenate(pieces), Instructions())
    assert set(recognition.spoken) == set(order)
    for words in ("middle classes", "portal", "conservateur", "arenas"):
        assert words in said(recognition)
    starts = [segment.start for segment in recognition.segments]
    assert starts == sorted(starts)


@pytest.mark.slow
def test_words_that_were_told_are_written_as_told(base: WhisperRecognizer, shared_media: Path) -> None:
    audio = load(shared_media / "audio/hotwords.mp3")
    assert "comfyui" not in said(base.recognize(audio, Instructions()))
    for options in (SpeechOptions(hotwords="ComfyUI"), SpeechOptions(prompt="A talk about ComfyUI.")):
        assert "comfyui" in said(base.recognize(audio, Instructions(options=options)))


def test_german_in_english(base: WhisperRecognizer, shared_media: Path) -> None:
    audio = load(shared_media / "audio/leopard_de.wav")
    recognition = base.recognize(audio, Instructions(options=SpeechOptions(task="translate")))
    assert "portal" in said(recognition)
    assert "the" in said(recognition).split()
    assert recognition.language == "en"
    assert set(recognition.spoken) == {"de"}


def test_no_text_for_music_and_hum(base: WhisperRecognizer) -> None:
    """A melody with overtones and vibrato, chords, a hum, claps: all without a voice."""
    time = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 5, 9]) / 12)
    pitch = notes[(time * 2).astype(int) % len(notes)] * (1 + 0.006 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    decay = np.exp(-3 * (time * 2 % 1))
    melody = decay * sum(np.sin(n * phase) / n for n in range(1, 7))
    chord = sum(np.sin(2 * np.pi * f * time) for f in (130.8, 164.8, 196.0))
    hum = np.sin(2 * np.pi * 50 * time) + 0.4 * np.sin(2 * np.pi * 150 * time)
    claps = np.random.default_rng(0).normal(0, 1, len(time)) * np.exp(-40 * (time % 0.8))
    for sound in (melody, melody + chord, hum, claps):
        samples = (0.3 * sound / np.abs(sound).max()).astype(np.float32)
        assert base.recognize(samples, Instructions()).segments == []


@pytest.mark.parametrize(
    "name",
    [
        "audio/jfk.flac",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("audio/asterisk_en_demo-congrats.wav", "audio/leopard_ja.wav")
        ),
    ],
)
def test_what_was_said_is_not_suspect(base: WhisperRecognizer, shared_media: Path, name: str) -> None:
    samples = load(shared_media / name)
    found = base.recognize(samples, Instructions()).segments
    voice = VoiceActivity().of_whole(samples)
    segments = judged(found, voice, seconds=len(samples) / SAMPLE_RATE)
    assert segments
    assert not any(segment.suspect for segment in segments)
    assert all((segment.confidence or 0) > 0.5 and (segment.speech_share or 0) > 0.5 for segment in segments)


@pytest.mark.slow
def test_a_word_after_a_long_pause_has_its_own_time(base: WhisperRecognizer, shared_media: Path) -> None:
    segments = base.recognize(load(shared_media / "video/talk_auto-editor_example.mp4"), Instructions()).segments
    assert plain(segments[-1].text) == "banana"
    assert segments[-1].start == pytest.approx(40, abs=0.5)


EXPECTED = {
    "awful.wav": "NO_SPEECH",
    "bad.wav": "NOT_MEDIA",
    "bigbuckbunny_20s_music_no_speech.mp4": "NO_SPEECH",
    "derived_text_named.mp4": "NOT_MEDIA",
    "derived_truncated_half.mp4": "INCOMPLETE_MEDIA",
    "derived_truncated_midstream.mkv": "TRUNCATED_MEDIA",
    "eight_channels.m4a": "",
    "evil.wav": "NOT_MEDIA",
    "no_audio_track_vfr.mov": "NO_AUDIO_TRACK",
    "no_streams.mp4": "NO_AUDIO_TRACK",
    "noise_no_speech_8s.wav": "NO_SPEECH",
    "null.wav": "EMPTY_AUDIO_TRACK",
    "silence_60s_audio_only.mp4": "NO_SPEECH",
    "video_longer_than_audio_1fps.mov": "",
    "zero_bytes.mp4": "EMPTY_FILE",
}


@pytest.mark.parametrize("name", EXPECTED)
async def test_every_nasty_file_ends_in_words(shared_media: Path, name: str) -> None:
    slicer = Slicer(slice_seconds=300, first_slice_seconds=60, limits=SlicingLimits())
    slices = 0
    try:
        async with slicer.open(shared_media / "nasty" / name) as slicing:
            async for _ in slicing.slices():
                slices += 1
        ends = ",".join(warning.reason for warning in slicing.warnings)
    except MediaProblem as problem:
        ends = problem.reason
    assert ends == EXPECTED[name]
    assert (slices > 0) == (ends in {"", "TRUNCATED_MEDIA"})


def test_the_samples_are_understood(tiny: WhisperRecognizer) -> None:
    timings = json.loads((SAMPLES / "timings.json").read_text())
    assert timings
    recognition = tiny.recognize(load(SAMPLES / "how-bees-make-honey.mp4", 45), Instructions())
    text = said(recognition)
    assert "honey" in text
    assert len(text.split()) > 80
