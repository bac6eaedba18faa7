"""faster-whisper's model with the three decisions that are ours: the language, the prompt, the second try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from faster_whisper import WhisperModel

from services.transcriber.languages import LanguageListener, Ranking
from services.transcriber.pcm import Samples

_WINDOWS_AHEAD: Final = 4
_PROMPT_TOKENS: Final = 160
"""Tokens shown before a window. The library allows 223 of 448, and then a window of fast speech has too few left."""
_RETRY_BEAM: Final = 5
_RETRY_NO_REPEAT: Final = 4


class SteadyWhisper(WhisperModel):  # type: ignore[misc]  # the library ships no types
    """Falls back to a wider search instead of to chance, and asks the listener for the language of each window."""

    listener: LanguageListener
    told: str = ""
    heard: Any = None
    features: Any = None

    def generate_segments(self, features: Any, *args: Any, **kwargs: Any) -> Any:
        """Remembers the features, for listening ahead."""
        self.features = features
        return super().generate_segments(features, *args, **kwargs)

    def encode(self, features: Any) -> Any:
        """Remembers what the encoder gave, which is enough to tell the language."""
        self.heard = super().encode(features)
        return self.heard

    def get_prompt(self, tokenizer: Any, previous_tokens: Any, *args: Any, **kwargs: Any) -> Any:
        """Decides the language of the window, and shows what was told of the video before it."""
        if self.model.is_multilingual:
            language = self.listener.hear(lambda: self._ranked(self.heard), self._ahead)
            tokenizer.language = tokenizer.tokenizer.token_to_id(f"<|{language}|>")
            tokenizer.language_code = language
        if self.told:
            # Before every window; the library's initial prompt is only before the first.
            previous_tokens = tokenizer.encode(" " + self.told)[-_PROMPT_TOKENS:]
        return super().get_prompt(tokenizer, previous_tokens, *args, **kwargs)

    def language_of(self, samples: Samples) -> tuple[str, float]:
        """Gives the language of up to 30 s of audio by itself, and its probability."""
        return self._ranked(super().encode(self._window(self.feature_extractor(samples), 0)))[0]

    def _ranked(self, encoded: Any) -> Ranking:
        return [(token[2:-2], float(p)) for token, p in self.model.detect_language(encoded)[0]]

    def _ahead(self) -> Iterator[Ranking]:
        frames = self.feature_extractor.nb_max_frames
        for start in range(frames, min(self.features.shape[-1] - 1, frames * (_WINDOWS_AHEAD + 1)), frames):
            yield self._ranked(super().encode(self._window(self.features, start)))

    def _window(self, features: Any, start: int) -> Any:
        frames = self.feature_extractor.nb_max_frames
        window = features[:, start : start + frames]
        return np.pad(window, ((0, 0), (0, frames - window.shape[1])))

    def generate_with_fallback(self, encoder_output: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
        """Does a window again that fails Whisper's own checks, with a wider beam and without repetition."""
        first = super().generate_with_fallback(encoder_output, prompt, tokenizer, options)
        result, log_probability, _, compression = first
        silent = result.no_speech_prob > options.no_speech_threshold and log_probability < options.log_prob_threshold
        failed = (
            compression > options.compression_ratio_threshold or log_probability < options.log_prob_threshold
        ) and not silent
        if not failed:
            return first
        wider = replace(options, beam_size=max(_RETRY_BEAM, options.beam_size), no_repeat_ngram_size=_RETRY_NO_REPEAT)
        second = super().generate_with_fallback(encoder_output, prompt, tokenizer, wider)
        loops = compression > options.compression_ratio_threshold
        return second if loops or second[1] > log_probability else first
