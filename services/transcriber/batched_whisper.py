"""faster-whisper's model, given the windows of a slice all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

from services.common.transcript import Segment, Word
from services.transcriber.lanes import Lanes
from services.transcriber.languages import LanguageListener, Ranking
from services.transcriber.pcm import Samples
from services.transcriber.windows import Decoding, Window

_BATCH: Final = 4
"""Windows decoded at once: each keeps 37 MiB (base model) of keys and values of what the decoder attends to."""
_PROMPT_TOKENS: Final = 160
"""Tokens shown before a window. The library allows 223 of 448, and then a window of fast speech has too few left."""
_RETRY_BEAM: Final = 5
_RETRY_NO_REPEAT: Final = 4
# Whisper's own checks of a window, at OpenAI's values.
_COMPRESSION: Final = 2.4
_LOG_PROBABILITY: Final = -1.0
_NO_SPEECH: Final = 0.6
_LATEST_FIRST_TIMESTAMP: Final = 50
"""In steps of 20 ms."""
_PREPENDED: Final = "\"'“¿([{-"
_APPENDED: Final = "\"'.。,，!！?？:：”)]}、"

Encoded = npt.NDArray[Any]
"""What the encoder gave for a window, shape (positions, model's width)."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What the decoder gave for a window."""

    tokens: Sequence[int]
    log_probability: float
    no_speech: float
    compression: float

    @property
    def silent(self) -> bool:
        return self.no_speech > _NO_SPEECH and self.log_probability < _LOG_PROBABILITY

    @property
    def loops(self) -> bool:
        return self.compression > _COMPRESSION

    @property
    def failed(self) -> bool:
        return (self.loops or self.log_probability < _LOG_PROBABILITY) and not self.silent


class BatchedWhisper(WhisperModel):  # type: ignore[misc]  # the library ships no types
    """Decodes windows that were cut beforehand several at a time.

    The library goes from window to window, since each begins where the text of the one before it ends; a decoder that
    has one window to write reads all its weights for every token. The library's own batched pipeline draws its windows
    from voice activity too, but decides no language by window, tries nothing again, and drops a sentence that a window
    does not end.

    Args:
        model: As `WhisperModel`'s.
        lanes: Threads for windows and for batches of them.
        options: `WhisperModel`'s others.
    """

    def __init__(self, model: str, *, lanes: Lanes, **options: Any) -> None:
        super().__init__(model, num_workers=lanes.most, **options)
        self._lanes = lanes

    def texts(
        self, samples: Samples, windows: Sequence[Window], listener: LanguageListener, decoding: Decoding
    ) -> list[Segment]:
        """Recognizes windows.

        Args:
            samples: Audio, shape (n,).
            windows: Stretches of it, in order.
            listener: Decides the language of each.
            decoding: How.

        Returns:
            Segments in order, times in seconds of `samples`, each with its language.
        """
        features = self.feature_extractor(samples)
        encoded = self._encoded(features, windows)
        languages = self._languages(encoded, listener)
        batches = [
            (language, places[first : first + _BATCH])
            for language, group in groupby(range(len(windows)), key=lambda place: languages[place])
            for places in [list(group)]
            for first in range(0, len(places), _BATCH)
        ]

        def said(language_and_batch: tuple[str, list[int]]) -> list[Segment]:
            language, batch = language_and_batch
            tokenizer = self._tokenizer(language, translate=decoding.translate)
            heard = self._decoded(encoded[batch], tokenizer, decoding)
            return self._timed(encoded[batch], [windows[place] for place in batch], heard, tokenizer)

        return [segment for part in self._lanes.map(said, batches) for segment in part]

    def language_of(self, samples: Samples) -> tuple[str, float]:
        """Gives the language of up to 30 s of audio by itself, and its probability."""
        features = self.feature_extractor(samples)
        [ranking] = self._ranked(self._encoded(features, [Window(0, features.shape[-1] - 1)]))
        return ranking[0]

    def _encoded(self, features: npt.NDArray[np.float32], windows: Sequence[Window]) -> Encoded:
        frames = self.feature_extractor.nb_max_frames

        def encoded(window: Window) -> Encoded:
            part = features[:, window.start : min(window.end, window.start + frames)]
            part = np.pad(part, ((0, 0), (0, frames - part.shape[1])))
            return np.array(self.model.encode(_view(part[np.newaxis]), to_cpu=True))

        return np.concatenate(self._lanes.map(encoded, windows))

    def _ranked(self, encoded: Encoded) -> list[Ranking]:
        found = self.model.detect_language(_view(encoded))
        return [[(token[2:-2], float(p)) for token, p in ranking] for ranking in found]

    def _languages(self, encoded: Encoded, listener: LanguageListener) -> list[str]:
        if not self.model.is_multilingual or listener.fixed:
            return [listener.current] * len(encoded)
        ranked = [
            ranking
            for first in range(0, len(encoded), _BATCH)
            for ranking in self._ranked(encoded[first : first + _BATCH])
        ]
        return [listener.hear(ranking, ranked[place + 1 :]) for place, ranking in enumerate(ranked)]

    def _tokenizer(self, language: str, *, translate: bool) -> Tokenizer:
        task = "translate" if translate else "transcribe"
        return Tokenizer(self.hf_tokenizer, self.model.is_multilingual, task=task, language=language)

    def _decoded(self, encoded: Encoded, tokenizer: Tokenizer, decoding: Decoding) -> list[_Text]:
        """Decodes, and once more, wider and without repetition, what fails Whisper's own checks.

        The library would draw random samples instead: slower on noise, and different after each restart.
        """
        told = tokenizer.encode(" " + decoding.told)[-_PROMPT_TOKENS:] if decoding.told else []
        prompt = self.get_prompt(tokenizer, told)
        heard = self._generated(encoded, tokenizer, prompt, beam=decoding.beam)
        failed = [place for place, text in enumerate(heard) if text.failed]
        if failed:
            beam = max(_RETRY_BEAM, decoding.beam)
            again = self._generated(encoded[failed], tokenizer, prompt, beam=beam, no_repeat=_RETRY_NO_REPEAT)
            for place, text in zip(failed, again, strict=True):
                if heard[place].loops or text.log_probability > heard[place].log_probability:
                    heard[place] = text
        return heard

    def _generated(
        self, encoded: Encoded, tokenizer: Tokenizer, prompt: list[int], *, beam: int, no_repeat: int = 0
    ) -> list[_Text]:
        results = self.model.generate(
            _view(encoded),
            [prompt] * len(encoded),
            beam_size=beam,
            no_repeat_ngram_size=no_repeat,
            max_length=self.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            max_initial_timestamp_index=_LATEST_FIRST_TIMESTAMP,
        )
        found = []
        for result in results:
            tokens = result.sequences_ids[0]
            # The score is a mean over the tokens; the end of the text, which is none of them, counts as well.
            log_probability = result.scores[0] * len(tokens) / (len(tokens) + 1)
            text = tokenizer.decode(tokens).strip()
            found.append(_Text(tokens, log_probability, result.no_speech_prob, get_compression_ratio(text)))
        return found

    def _timed(
        self, encoded: Encoded, windows: Sequence[Window], texts: Sequence[_Text], tokenizer: Tokenizer
    ) -> list[Segment]:
        """Finds when each word was said, on what the decoder looked at."""
        spoken = [
            (place, parts)
            for place, text in enumerate(texts)
            if not text.silent and (parts := list(self._parts(windows[place], text, tokenizer)))
        ]
        if not spoken:
            return []
        places, segments = [place for place, _ in spoken], [parts for _, parts in spoken]
        frames = [windows[place].end - windows[place].start for place in places]
        self.add_word_timestamps(segments, tokenizer, _view(encoded[places]), frames, _PREPENDED, _APPENDED, 0.0)
        return [
            _segment(part, texts[place], tokenizer)
            for place, parts in zip(places, segments, strict=True)
            for part in parts
            if part["words"]
        ]

    def _parts(self, window: Window, text: _Text, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
        """Cuts what a window says where two timestamps meet; what has no end is said until the window ends."""
        begin, tokens = tokenizer.timestamp_begin, list(text.tokens)
        edges = [i for i in range(1, len(tokens)) if tokens[i - 1] >= begin and tokens[i] >= begin]
        for first, last in zip([0, *edges], [*edges, len(tokens)], strict=True):
            part = tokens[first:last]
            if not any(token < tokenizer.eot for token in part):
                continue
            start = window.start / self.frames_per_second
            end = window.end / self.frames_per_second
            if part[-1] > begin:
                end = start + (part[-1] - begin) * self.time_precision
            if part[0] >= begin:
                start += (part[0] - begin) * self.time_precision
            yield {"seek": window.start, "start": start, "end": end, "tokens": part}


def _segment(part: dict[str, Any], text: _Text, tokenizer: Tokenizer) -> Segment:
    said = tokenizer.decode(part["tokens"])
    return Segment(
        start=float(part["start"]),
        end=float(part["end"]),
        text=said.strip(),
        words=[
            Word(float(word["start"]), float(word["end"]), word["word"], round(float(word["probability"]), 4))
            for word in part["words"]
        ],
        average_log_probability=round(text.log_probability, 4),
        no_speech_probability=round(text.no_speech, 4),
        compression_ratio=round(text.compression, 4),
        language=tokenizer.language_code,
    )


def _view(array: npt.NDArray[Any]) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))
