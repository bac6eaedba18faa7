"""Voice activity of a stream of audio, in bounded memory."""

from __future__ import annotations

import base64
import importlib.util
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from services.transcriber.pcm import SAMPLE_RATE, Samples

FRAME: Final = 512
"""Samples of one frame of voice activity (32 ms)."""
FRAME_SECONDS: Final = FRAME / SAMPLE_RATE
SPEECH: Final = 0.5
"""A frame at or above this probability is speech (Silero's own default)."""
SILENCE: Final = 0.35
"""A frame below this probability is silence (Silero's `neg_threshold`)."""

INAUDIBLE: Final = 1e-4
"""Peak (-80 dBFS, three steps of 16 bits) under which a frame cannot hold speech that anything could recognize."""

Voice = npt.NDArray[np.float32]
"""Probability of speech of each frame, shape (frames,), in [0, 1]."""

_STEPS: Final = 255
_CONTEXT = 64
_BLOCK = FRAME * 1024


def to_note(voice: Voice) -> str:
    """Gives voice activity as text, a byte a frame, to keep with its audio, so that nobody need find it out again."""
    return base64.b64encode(zlib.compress(np.rint(voice * _STEPS).astype(np.uint8).tobytes())).decode()


def from_note(note: str, *, samples: int) -> Voice | None:
    """Gives the voice activity of so many samples that `to_note` wrote; None where there is none, or of other audio.

    Raises:
        ValueError: It is something else.
    """
    try:
        steps = zlib.decompress(base64.b64decode(note, validate=True)) if note else b""
    except zlib.error as error:
        raise ValueError(f"voice activity cannot be read: {error}") from error
    if not steps or len(steps) != -(-samples // FRAME):
        return None
    return np.frombuffer(steps, np.uint8).astype(np.float32) / np.float32(_STEPS)


def model_path() -> Path:
    """Gives the Silero VAD model that comes with faster-whisper, without importing faster-whisper (and ctranslate2)."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("faster-whisper is not installed; its voice activity model is needed")
    return Path(spec.submodule_search_locations[0]) / "assets" / "silero_vad_v6.onnx"


class VoiceActivity:
    """Silero VAD over a stream: the recurrent state is carried from call to call.

    Frames that are digitally silent are not run through the model: hours of silence cost next to nothing.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.reset()

    def reset(self) -> None:
        """Forgets what was heard."""
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def of_whole(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Gives the probability of speech of each frame of a recording of any length, the last frame filled up.

        Args:
            samples: Shape (samples,).

        Returns:
            Shape (frames,), float32 in [0, 1].
        """
        self.reset()
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        blocks = [self.probabilities(padded[at : at + _BLOCK]) for at in range(0, len(padded), _BLOCK)]
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def probabilities(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Gives the probability of speech of each frame.

        Args:
            samples: The next samples of the stream; a whole number of frames.

        Returns:
            Shape (frames,), float32 in [0, 1].
        """
        frames = samples.reshape(-1, FRAME)
        if not len(frames):
            return np.zeros(0, np.float32)
        result = np.zeros(len(frames), np.float32)
        audible = np.abs(frames).max(axis=1) >= INAUDIBLE
        if not audible.any():
            self.reset()
            return result
        # From the first to the last audible frame in one run: short silences inside belong to the speech around them.
        first = int(audible.argmax())
        last = len(audible) - int(audible[::-1].argmax())
        if first > 0:
            self.reset()
        heard = frames[first:last]
        contexts = np.vstack([self._context[None], heard[:-1, -_CONTEXT:]])
        output, self._hidden, self._cell = self._session.run(
            None, {"input": np.hstack([contexts, heard]), "h": self._hidden, "c": self._cell}
        )
        self._context = heard[-1, -_CONTEXT:].copy()
        if last < len(frames):
            self.reset()
        result[first:last] = output.reshape(-1)
        return result
