"""faster-whisper as a `Recognizer`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from services.common.speech import SpeechOptions
from services.common.transcript import Segment
from services.transcriber.lanes import Lanes
from services.transcriber.languages import LANGUAGE_CLEAR, LanguageListener
from services.transcriber.missing import Missing, uncovered
from services.transcriber.pcm import SAMPLE_RATE, Samples
from services.transcriber.recognizer import Instructions, NotAvailable, Recognition
from services.transcriber.together import Together, grouped
from services.transcriber.voice import FRAME, INAUDIBLE, Voice, VoiceActivity
from services.transcriber.windows import WINDOW_SECONDS, Decoding, Speech

_GAP_SECONDS: Final = 1.5
"""Between words further apart than this a segment is split: Whisper, which does not hear the silence that voice
activity detection took out, joins what was said before and after it."""
_MARGIN_SECONDS: Final = 0.2
_RECOVERIES: Final = 6
"""Stretches gone over again in any slice, beside one for each window of it; more would double the work on babble."""
_FRUITLESS: Final = 3
"""After this many in a row without a word that is believed, what is left is taken for voices that say none."""
_RECOVERED_SURE: Final = 0.5
"""Mean probability of its words from which a text is believed that was not found at first, amid speech."""
_SHORTEST_DECIDED_SECONDS: Final = 2.0
_NO_WORSE: Final = 0.05


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
    * The language is listened for in every window of 30 s, on what the encoder gave for it anyway; where it changes,
      segment by segment.
    * Speech that no segment covers is gone over again: a window in one language may leave the rest of it out.

    Args:
        options: How it works.
        lanes: Threads that it may use beside the model's own; one where there is none.

    Raises:
        NotAvailable: There is no such model, or it does not work with these options.
    """

    def __init__(self, options: WhisperOptions, lanes: Lanes | None = None) -> None:
        self._options = options
        self._lanes = lanes or Lanes()
        self._model = _load(options, self._lanes)
        self._name = _model_name(options.model)

    @property
    def name(self) -> str:
        """The model, for example `whisper-base`."""
        return self._name

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self._model.model.device)

    def recognize(self, samples: Samples, instructions: Instructions, voice: Voice | None = None) -> Recognition:
        """See `Recognizer`."""
        start, end = audible(samples)
        if start == end:
            return Recognition("", 0.0, [])
        found = self._recognized(
            samples[start:end],
            instructions,
            None if voice is None else voice[start // FRAME : -(-end // FRAME)],
        )
        if start:
            moved = [_moved(segment, start / SAMPLE_RATE) for segment in found.segments]
            found = replace(found, segments=moved)
        return found

    def _recognized(self, samples: Samples, instructions: Instructions, voice: Voice | None) -> Recognition:
        options = instructions.options
        multilingual = bool(self._model.model.is_multilingual)
        known = set(self._model.supported_languages) if multilingual else {"en"}
        given = options.language if multilingual else "en"
        language = given if given in known else ""
        # English-only models cannot translate, and need not.
        translate = options.task == "translate" and multilingual
        how = Decoding(self._options.beam, translate=translate, told=_told(options))
        if voice is None:
            voice = VoiceActivity().of_whole(samples)
        listener = LanguageListener(language, instructions.hint if instructions.hint in known else "")
        segments = self._windows(samples, voice, listener, how)
        if not language:
            segments = self._decided_again(samples, voice, segments, how)
        segments = self._recovered(samples, voice, segments, language, how)
        if not segments:
            return Recognition("", 0.0, [])
        spoken: dict[str, float] = {}
        for segment in segments:
            spoken[segment.language] = round(spoken.get(segment.language, 0.0) + segment.end - segment.start, 3)
        main, probability = listener.verdict()
        if spoken.get(main, 0.0) < max(spoken.values()):
            main = max(spoken, key=lambda code: spoken[code])
        if translate:
            main, segments = "en", [replace(segment, language="en") for segment in segments]
        return Recognition(main, probability, segments, spoken)

    def _windows(self, samples: Samples, voice: Voice, listener: LanguageListener, how: Decoding) -> list[Segment]:
        """Recognizes the speech window by window; each segment has the language its window was heard in."""
        speech = Speech(samples, voice)
        windows = speech.windows()
        if not windows:
            return []
        found = self._model.texts(speech.samples, windows, listener, how)
        return [part for segment in found for part in split_at_gaps(speech.restored(segment)) if part.text]

    def _decided_again(self, samples: Samples, voice: Voice, segments: list[Segment], how: Decoding) -> list[Segment]:
        """Where the language changes, listens to each segment by itself: a window has one language, speech may not."""
        edges = [b.start for a, b in pairwise(segments) if a.language != b.language]
        decided: list[Segment] = []
        for place, segment in enumerate(segments):
            near = any(abs(edge - segment.start) < WINDOW_SECONDS for edge in edges)
            if not near or segment.end - segment.start < _SHORTEST_DECIDED_SECONDS:
                decided.append(segment)
                continue
            # A little around it, but nothing that its neighbours have said already.
            before = min(segments[place - 1].end, segment.start) if place else 0.0
            after = max(segments[place + 1].start, segment.end) if place + 1 < len(segments) else math.inf
            start = max(before, segment.start - _MARGIN_SECONDS)
            piece, speech = _cut(samples, voice, start, min(after, segment.end + _MARGIN_SECONDS))
            language, probability = self._model.language_of(piece)
            if language == segment.language or probability < LANGUAGE_CLEAR:
                decided.append(segment)
                continue
            again = self._windows(piece, speech, LanguageListener(language, ""), how)
            if again and _sure(again) >= _sure([segment]) - _NO_WORSE:
                decided += [_moved(part, start) for part in again]
            else:
                decided.append(segment)
        return decided

    def _recovered(
        self, samples: Samples, voice: Voice, segments: list[Segment], language: str, how: Decoding
    ) -> list[Segment]:
        """Goes over speech again that no segment covers: a window may end with its first language, or skip a voice."""
        tried: set[Missing] = set()
        left = _RECOVERIES + int(len(samples) / SAMPLE_RATE / WINDOW_SECONDS)
        fruitless = 0

        def heard(stretches: Sequence[Missing]) -> list[Segment]:
            before = [segment.language for segment in segments if segment.end <= stretches[0].start]
            expected = before[-1] if before else ""
            listener = LanguageListener(language, expected)
            together = Together(samples, voice, stretches)
            parts = self._windows(together.samples, together.voice, listener, how)
            heard_in, probability = listener.verdict()
            mixed = heard_in != (expected or heard_in) or probability < LANGUAGE_CLEAR
            if mixed and len(stretches) > 1:
                return [part for stretch in stretches for part in heard([stretch])]
            alone = stretches[0].alone
            return [together.restored(part) for part in parts if alone or _sure([part]) >= _RECOVERED_SURE]

        while left and fruitless < _FRUITLESS:
            # As many at once, whatever the threads: which are tried must not depend on what else goes on here.
            stretches = [one for one in uncovered(voice, segments) if one not in tried][:left]
            groups = grouped(stretches)[:_FRUITLESS]
            if not groups:
                break
            tried.update(chain(*groups))
            left -= sum(map(len, groups))
            found = self._lanes.map(heard, groups)
            for parts in found:
                fruitless = 0 if parts else fruitless + 1
            segments = sorted(chain(segments, *found), key=lambda segment: segment.start)
        return segments


def audible(samples: Samples) -> tuple[int, int]:
    """Gives the first sample and the last but one that are worth listening to: a second around what can be heard.

    After a minute of digital silence the voice activity detection that the library runs takes a soft voice for more of
    it: of "And so my fellow Americans, ask not" the last two words were lost.
    """
    loud = np.flatnonzero(np.abs(samples) >= INAUDIBLE)
    if not len(loud):
        return 0, 0
    start = max(0, int(loud[0]) - SAMPLE_RATE)
    return start - start % FRAME, min(len(samples), int(loud[-1]) + 1 + SAMPLE_RATE)


def _sure(segments: Sequence[Segment]) -> float:
    """Gives the mean probability of the words, 0 where there are none."""
    probabilities = [word.probability for segment in segments for word in segment.words]
    return float(np.mean(probabilities)) if probabilities else 0.0


def _moved(segment: Segment, seconds: float) -> Segment:
    return replace(
        segment,
        start=segment.start + seconds,
        end=segment.end + seconds,
        words=[replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words],
    )


def _cut(samples: Samples, voice: Voice, start: float, end: float) -> tuple[Samples, Voice]:
    """Gives a stretch (seconds) of audio and of its voice activity."""
    first, last = max(0, round(start * SAMPLE_RATE)), len(samples)
    if end < math.inf:
        last = round(end * SAMPLE_RATE)
    return samples[first:last], voice[first // FRAME : -(-last // FRAME)]


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


def _load(options: WhisperOptions, lanes: Lanes) -> Any:
    import ctranslate2

    from services.transcriber.batched_whisper import BatchedWhisper

    device = options.device
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
    compute_type = options.compute_type
    if compute_type == "auto":
        compute_type = "float16" if device == "cuda" else "int8"
    try:
        return BatchedWhisper(
            options.model,
            device=device,
            compute_type=compute_type,
            cpu_threads=options.threads,
            lanes=lanes if device == "cpu" else Lanes(),  # a GPU is kept busy by a batch
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "") not in {"", "0"},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise NotAvailable(f"the speech model {options.model!r} cannot be loaded on {device}: {error}") from error


def _model_name(model: str) -> str:
    """Gives a name for people: `Systran/faster-whisper-base` and a folder `…/whisper-base` are both `whisper-base`."""
    path = Path(model)
    cached = next((part for part in path.parts if part.startswith("models--")), None)  # Hugging Face's cache
    last = cached.rpartition("--")[2] if cached else path.name if path.name != "model" else path.parent.name
    last = last.removeprefix("faster-")
    return last if "whisper" in last else f"whisper-{last}"
