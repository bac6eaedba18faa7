"""faster-whisper as a `Recognizer`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from services.common.speech import SpeechOptions
from services.common.transcript import Segment, Word
from services.transcriber.languages import LanguageListener
from services.transcriber.pcm import Samples
from services.transcriber.recognizer import Instructions, NotAvailable, Recognition

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

    def recognize(self, samples: Samples, instructions: Instructions) -> Recognition:
        """See `Recognizer`."""
        model, options = self._model, instructions.options
        multilingual = model.model.is_multilingual
        known = set(model.supported_languages) if multilingual else {"en"}
        language = options.language if multilingual else "en"
        hint = instructions.hint
        listener = LanguageListener(language if language in known else "", hint if hint in known else "")
        model.listener = listener
        model.told = _told(options)
        # English-only models cannot translate, and need not.
        translate = options.task == "translate" and multilingual
        found, _ = model.transcribe(
            samples,
            language=language if language in known else "en",  # only a first guess: the listener decides each window
            task="translate" if translate else "transcribe",
            beam_size=self._options.beam,
            temperature=[0.0],
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=True,
            vad_parameters=dict(_VAD),
        )
        segments: list[Segment] = []
        spoken: dict[str, float] = {}
        for segment in found:
            # The library gives a window's segments before it hears the next window.
            heard = listener.current
            for part in split_at_gaps(_segment(segment)):
                if part.text:
                    spoken[heard] = round(spoken.get(heard, 0.0) + part.end - part.start, 3)
                    segments.append(replace(part, language="en" if translate else heard))
        if not segments:
            return Recognition("", 0.0, [])
        main, probability = listener.verdict()
        return Recognition("en" if translate else main, probability, segments, spoken)


def _told(options: SpeechOptions) -> str:
    """Gives what the model is shown before each window: the words to expect, then the prompt."""
    return " ".join(filter(None, (options.hotwords.strip(), options.prompt.strip())))


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

    from services.transcriber.steady_whisper import SteadyWhisper

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
