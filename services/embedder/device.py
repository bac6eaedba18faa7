"""Where an embedding model computes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import onnxruntime

from services.common.errors import EarmarkError

Device = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class DeviceMissing(EarmarkError):
    """The device asked for is not there, or the library cannot use it."""

    reason = "EMBEDDING_DEVICE_MISSING"
    code = "FAILED_PRECONDITION"


def providers(device: Device, available: Collection[str] | None = None) -> list[str]:
    """Gives ONNX Runtime's names of what to compute with, in order.

    Args:
        device: What is asked for.
        available: What this installation has; None asks it.

    Raises:
        DeviceMissing: A GPU is asked for, and this installation of ONNX Runtime can use none.
    """
    has = onnxruntime.get_available_providers() if available is None else available
    if device == "cpu" or (device == "auto" and CUDA not in has):
        return [CPU]
    if CUDA not in has:
        raise DeviceMissing(
            "EARMARK_EMBEDDING_DEVICE=cuda, and this ONNX Runtime has no CUDA; install onnxruntime-gpu in place of "
            "onnxruntime (the image earmark-embedder-gpu has it), or set cpu"
        )
    if available is None:
        onnxruntime.preload_dlls()  # CUDA's libraries where pip put them
    return [CUDA, CPU]


def check(device: Device, used: Collection[str]) -> None:
    """Looks at what a session has come to compute with, since ONNX Runtime goes back to the processor without a word.

    Raises:
        DeviceMissing: A GPU is asked for, and the session uses none.
    """
    if device == "cuda" and CUDA not in used:
        raise DeviceMissing(
            "EARMARK_EMBEDDING_DEVICE=cuda, and ONNX Runtime found no GPU it can use; look at nvidia-smi and at the "
            "versions of driver, CUDA and cuDNN, or set cpu"
        )
