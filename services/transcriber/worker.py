"""The child process that holds one recognizer, and is killed with its parent.

Run as `python -m services.transcriber.worker` with JSON (`WorkerSpec`) and its parent's process id as arguments.
It writes lines of JSON: first {"ready": {"name", "device", "bytes"}} or {"failed": message}; then, for each line
{"audio": path, "options": SpeechOptions, "hint"} it reads, {"ok": Recognition} or {"error": message}. A line
{"lanes": n} has no answer: from then on it may use n threads. Ends when its input does.

Keeps the memory that it works with (see `worker_pool`), and gives it back when it has had nothing to do for a moment.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from services.transcriber.lanes import Lanes
    from services.transcriber.recognizer import Recognizer

_PR_SET_PDEATHSIG = 1
_IDLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What recognizer a worker holds, and how.

    Attributes:
        kind: `whisper`, or `scripted`.
        options: Fields of `WhisperOptions`, or arguments of `ScriptedRecognizer`.
        memory_bytes: Address space the worker may use; 0 is no limit.
        lanes: Most threads it may ever be allowed, while other workers have nothing to do.
    """

    kind: Literal["whisper", "scripted"]
    options: dict[str, Any] = field(default_factory=dict)
    memory_bytes: int = 0
    lanes: int = 1


def make_recognizer(spec: WorkerSpec, lanes: Lanes) -> Recognizer:
    """Makes the recognizer. Raises NotAvailable.

    The place where other kinds are added.
    """
    if spec.kind == "scripted":
        from services.transcriber.scripted import ScriptedRecognizer

        options = dict(spec.options)
        options["misbehave"] = {float(limit): what for limit, what in options.get("misbehave", {}).items()}
        return ScriptedRecognizer(**options)
    from services.transcriber.whisper import WhisperOptions, WhisperRecognizer

    return WhisperRecognizer(WhisperOptions(**spec.options), lanes)


def main() -> int:
    """Serves until standard input ends."""
    spec = WorkerSpec(**orjson.loads(sys.argv[1]))
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        return 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if spec.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (spec.memory_bytes, spec.memory_bytes))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not get between the lines

    def tell(what: dict[str, Any]) -> None:
        out.write(orjson.dumps(what, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        out.flush()

    from services.common.speech import SpeechOptions
    from services.transcriber.honesty import judged
    from services.transcriber.lanes import Lanes
    from services.transcriber.pcm import SAMPLE_RATE, read_flac, read_note
    from services.transcriber.recognizer import Instructions, NotAvailable
    from services.transcriber.voice import VoiceActivity, from_note

    lanes = Lanes(spec.lanes)
    try:
        recognizer = make_recognizer(spec, lanes)
    except NotAvailable as error:
        tell({"failed": str(error)})
        return 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tell({"ready": {"name": recognizer.name, "device": recognizer.device, "bytes": peak}})
    for request in _requests(lanes, idle=partial(_give_memory_back, libc)):
        try:
            samples = read_flac(Path(request["audio"]))
            options = SpeechOptions(**request["options"])
            voice = from_note(read_note(Path(request["audio"])), samples=len(samples))
            if voice is None:  # audio that no slicer wrote
                voice = VoiceActivity().of_whole(samples)
            recognition = recognizer.recognize(samples, Instructions(options=options, hint=request["hint"]), voice)
            told, seconds = f"{options.hotwords} {options.prompt}", len(samples) / SAMPLE_RATE
            judgement = judged(recognition.segments, voice, seconds=seconds, prompt=told)
            recognition = replace(recognition, segments=judgement)
        except MemoryError:
            # The heap may be in pieces: the next slice gets a fresh process.
            tell({"error": "out of memory"})
            return 1
        except (RuntimeError, ValueError, OSError) as error:
            tell({"error": f"{type(error).__name__}: {error}"})
            if isinstance(error, RuntimeError):
                return 1  # a device in an unknown state, for example a GPU that is out of memory
            continue
        tell({"ok": asdict(recognition)})
    return 0


def _requests(lanes: Lanes, idle: Callable[[], object]) -> Iterator[dict[str, Any]]:
    """Gives what is asked, one after another, and heeds what is said of lanes at once.

    Calls `idle` when nothing has been asked for a moment.
    """
    asked: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def listen() -> None:
        # Without a buffer: its lock, held by a thread that waits, would abort the process when it ends by itself.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                told = orjson.loads(line)
                if "lanes" in told:
                    lanes.allow(told["lanes"])
                else:
                    asked.put(told)
        asked.put(None)

    threading.Thread(target=listen, name="listener", daemon=True).start()
    while True:
        try:
            request = asked.get(timeout=_IDLE_SECONDS)
        except Empty:
            idle()
            request = asked.get()
        if request is None:
            return
        yield request


def _give_memory_back(libc: ctypes.CDLL) -> None:
    if hasattr(libc, "malloc_trim"):  # glibc's; others keep little
        libc.malloc_trim(0)


if __name__ == "__main__":
    sys.exit(main())
