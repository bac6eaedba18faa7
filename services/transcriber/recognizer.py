"""What turns speech into timed text: the Protocol, and faster-whisper behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from services.common.transcript import Segment, Word
from services.transcriber.pcm import Samples


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was heard in one stretch of audio. Times are seconds from its beginning.

    Attributes:
        language: ISO 639-1; empty where there is no speech.
        language_probability: How sure that is, 0 to 1.
        segments: In order of time.
    """

    language: str
    language_probability: float
    segments: list[Segment]

    def shifted(self, seconds: float, *, end: float) -> list[Segment]:
        """Gives the segments in the clock in which the audio begins at `seconds` and ends at `end`."""

        def moved(time: float) -> float:
            # Milliseconds: finer than any recognizer knows, and the same text each time it is written.
            return round(min(max(seconds + time, seconds), end), 3)

        return [
            replace(
                segment,
                start=moved(segment.start),
                end=moved(segment.end),
                words=[replace(word, start=moved(word.start), end=moved(word.end)) for word in segment.words],
            )
            for segment in self.segments
        ]


class Recognizer(Protocol):
    """Anything that recognizes speech.

    The same audio and language must give the same recognition, whatever was recognized before: a slice that is done
    again after a crash has to say what it said.
    """

    @property
    def name(self) -> str:
        """The model, as a person would name it."""
        ...

    def recognize(self, samples: Samples, *, language: str | None, hint: str | None) -> Recognition:
        """Recognizes the speech in `samples`; no speech gives no segments.

        Args:
            samples: Shape (samples,), float32 in [-1, 1], 16 kHz mono.
            language: The language spoken (ISO 639-1), when it is known; it is detected when None.
            hint: The language to be expected; another one is believed only where the audio is clear about it.
        """
        ...


class NotAvailable(Exception):
    """The recognizer cannot be made: a wrong setting, or a model that is not there."""


LANGUAGE_CLEAR: Final = 0.8
"""Probability from which another language than the one expected is believed: below it Whisper confuses close
languages and accents, above it the speaker has really changed over."""

_RETRY_BEAM: Final = 5
_RETRY_NO_REPEAT: Final = 4
_GAP_SECONDS: Final = 1.5
"""Between words further apart than this a segment is split: Whisper, which does not hear the silence that voice
activity detection took out, joins what was said before and after it."""
_VAD: Final = {"min_silence_duration_ms": 2000, "speech_pad_ms": 400, "min_speech_duration_ms": 128}
"""The library's own silence and padding: closer ones (500 and 200 ms) were no faster and no better in words right, and
lost the first word after noise."""


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How faster-whisper works.

    Attributes:
        model: Folder of a CTranslate2 model, or a name that faster-whisper knows.
        device: `cpu`, `cuda`, or `auto` for whichever is there.
        compute_type: Numbers the model computes with; `auto` is int8 on a CPU and float16 on a GPU.
        threads: Threads of one model.
        beam: Beams of the search; 1 is greedy.
    """

    model: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute_type: str = "auto"
    threads: int = 1
    beam: int = 1


class WhisperRecognizer:
    """faster-whisper, set up so that it says what was said and nothing else, and the same each time.

    * Voice activity detection first: Whisper invents text on silence and noise.
    * Text is not carried from window to window: one loop would spread through the rest.
    * A window that fails Whisper's own checks is done again with a wider beam and without repetition. The library
      would draw random samples instead, up to five times: slower on noise, and different after each restart.
    * The language is listened for in every window of 30 s, on what the encoder gave for it anyway.

    Raises:
        NotAvailable: There is no such model, or it does not work with these options.
    """

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._model = _load(options)
        self._name = _model_name(options.model)

    @property
    def name(self) -> str:
        """The model, for example `whisper-base`."""
        return self._name

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self._model.model.device)

    def recognize(self, samples: Samples, *, language: str | None, hint: str | None) -> Recognition:
        """See `Recognizer`."""
        if not self._model.model.is_multilingual:
            language = "en"
        known = set(self._model.supported_languages)
        listener = LanguageListener(language if language in known else None, hint if hint in known else None)
        self._model.listener = listener
        found, _ = self._model.transcribe(
            samples,
            language=language or hint or "en",  # only the first guess: the listener decides window by window
            beam_size=self._options.beam,
            temperature=[0.0],
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=True,
            vad_parameters=dict(_VAD),
        )
        segments = [part for segment in found for part in split_at_gaps(_segment(segment)) if part.text]
        if not segments:
            return Recognition(language="", language_probability=0.0, segments=[])
        spoken, probability = listener.verdict()
        return Recognition(spoken, probability, segments)


class LanguageListener:
    """Decides the language of each window of a slice, and in the end that of the slice.

    Args:
        language: The language, when it is known: then nothing is decided.
        hint: The language to be expected.
    """

    def __init__(self, language: str | None, hint: str | None) -> None:
        self._fixed = language
        self._current = language or hint
        self._heard: dict[str, list[float]] = {}

    def hear(self, ranked: Callable[[], Sequence[tuple[str, float]]]) -> str:
        """Gives the language of the next window.

        Args:
            ranked: Gives languages (ISO 639-1) with their probabilities, the most probable first; not asked when
                the language is known.
        """
        if self._fixed:
            return self._fixed
        languages = ranked()
        top, probability = languages[0]
        if self._current is None or probability >= LANGUAGE_CLEAR:
            self._current = top
        self._heard.setdefault(self._current, []).append(dict(languages).get(self._current, 0.0))
        return self._current

    def verdict(self) -> tuple[str, float]:
        """Gives the language of most windows and its mean probability in them."""
        if self._fixed or not self._heard:
            return self._current or "", 1.0 if self._fixed else 0.0
        language, probabilities = max(self._heard.items(), key=lambda item: (len(item[1]), sum(item[1])))
        return language, round(sum(probabilities) / len(probabilities), 4)


def split_at_gaps(segment: Segment) -> list[Segment]:
    """Splits a segment where its words stand further apart than a pause in speech."""
    words = segment.words
    edges = [i for i in range(1, len(words)) if words[i].start - words[i - 1].end > _GAP_SECONDS]
    if not edges:
        return [segment]
    parts = [words[i:j] for i, j in zip([0, *edges], [*edges, len(words)], strict=True)]
    return [
        replace(segment, start=part[0].start, end=part[-1].end, words=part, text="".join(w.text for w in part).strip())
        for part in parts
    ]


def _load(options: WhisperOptions) -> Any:
    import ctranslate2
    from faster_whisper import WhisperModel

    class SteadyWhisper(WhisperModel):  # type: ignore[misc]  # the library ships no types
        """Falls back to a wider search instead of to chance, and asks the listener for the language of each window."""

        listener: LanguageListener
        heard: Any = None

        def encode(self, features: Any) -> Any:
            self.heard = super().encode(features)
            return self.heard

        def get_prompt(self, tokenizer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.model.is_multilingual:
                language = self.listener.hear(self._ranked)
                tokenizer.language = tokenizer.tokenizer.token_to_id(f"<|{language}|>")
                tokenizer.language_code = language
            return super().get_prompt(tokenizer, *args, **kwargs)

        def _ranked(self) -> list[tuple[str, float]]:
            return [(token[2:-2], float(p)) for token, p in self.model.detect_language(self.heard)[0]]

        def generate_with_fallback(self, encoder_output: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
            first = super().generate_with_fallback(encoder_output, prompt, tokenizer, options)
            result, log_probability, _, compression = first
            silent = (
                result.no_speech_prob > options.no_speech_threshold and log_probability < options.log_prob_threshold
            )
            failed = (
                compression > options.compression_ratio_threshold or log_probability < options.log_prob_threshold
            ) and not silent
            if not failed:
                return first
            wider = replace(
                options, beam_size=max(_RETRY_BEAM, options.beam_size), no_repeat_ngram_size=_RETRY_NO_REPEAT
            )
            second = super().generate_with_fallback(encoder_output, prompt, tokenizer, wider)
            loops = compression > options.compression_ratio_threshold
            return second if loops or second[1] > log_probability else first

    device = options.device
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
    compute_type = options.compute_type
    if compute_type == "auto":
        compute_type = "float16" if device == "cuda" else "int8"
    try:
        return SteadyWhisper(
            options.model,
            device=device,
            compute_type=compute_type,
            cpu_threads=options.threads,
            num_workers=1,
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "") not in {"", "0"},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise NotAvailable(f"the speech model {options.model!r} cannot be loaded on {device}: {error}") from error


def _segment(segment: Any) -> Segment:
    words = [Word(word.start, word.end, word.word, round(float(word.probability), 4)) for word in segment.words or []]
    return Segment(
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text.strip(),
        words=[replace(word, start=float(word.start), end=float(word.end)) for word in words],
        average_log_probability=round(float(segment.avg_logprob), 4),
        no_speech_probability=round(float(segment.no_speech_prob), 4),
        compression_ratio=round(float(segment.compression_ratio), 4),
    )


def _model_name(model: str) -> str:
    """Gives a name for people: `Systran/faster-whisper-base` and a folder `…/whisper-base` are both `whisper-base`."""
    path = Path(model)
    cached = next((part for part in path.parts if part.startswith("models--")), None)  # Hugging Face's cache
    last = cached.rpartition("--")[2] if cached else path.name if path.name != "model" else path.parent.name
    last = last.removeprefix("faster-")
    return last if "whisper" in last else f"whisper-{last}"
