"""The child process that touches untrusted media: decodes it, finds speech, writes slices, tells its parent.

Run as `python -m services.transcriber.decoder` with one JSON argument (`Job`). It limits itself before it opens the
file, opens nothing but local files, and is killed with its parent. One JSON object a line on standard output:

    {"type": "slice", "index", "start", "end", "speech_seconds", "path"}    seconds in the media's clock
    {"type": "progress", "seconds"}                                         still alive, and how far
    {"type": "done", "duration", "warnings": [{"reason", "message"}]}       the last line of a good end
    {"type": "problem", "reason", "message"}                                the last line of a bad one

A slice is written once there is room for it: each line on standard input gives room for one more.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.transcriber.child import Telling, limit_process

if TYPE_CHECKING:
    from services.transcriber.cutter import Cut

_SLICE_FILE_LIMIT: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """What the child is asked to do.

    Attributes:
        media: Path of the media file.
        spool: Folder for the slices.
        room: Slices that may lie in the spool at once.
        slice_seconds: Length of slice aimed at.
        first_slice_seconds: Length aimed at for the first one.
        first_index: Index of the first slice wanted; those before are there already.
        start: Seconds at which that slice begins.
        max_media_seconds: Longest media accepted.
        memory_bytes: Address space this process may use.
        cpu_seconds: Processor time this process may use.
    """

    media: str
    spool: str
    room: int
    slice_seconds: float
    first_slice_seconds: float
    first_index: int
    start: float
    max_media_seconds: float
    memory_bytes: int
    cpu_seconds: int


def decode(job: Job, telling: Telling) -> None:
    """Does the job.

    Raises:
        MediaProblem: The media cannot be transcribed.
    """
    # Imported under the limits, since importing them is already a lot of foreign code.
    import numpy as np

    from services.transcriber.cutter import Cutter
    from services.transcriber.media import MediaReader
    from services.transcriber.pcm import SAMPLE_RATE
    from services.transcriber.problems import MediaWarning, Reason
    from services.transcriber.voice import FRAME, VoiceActivity

    batch = FRAME * 64  # the same whatever the file's own blocks are, so that the cuts depend on the audio alone
    voice = VoiceActivity()
    cutter = Cutter(
        slice_seconds=job.slice_seconds,
        first_slice_seconds=job.first_slice_seconds,
        first_index=job.first_index,
        start=round(job.start * SAMPLE_RATE),
    )
    reader = MediaReader(Path(job.media), max_seconds=job.max_media_seconds)
    held = np.zeros(0, np.float32)
    position = 0
    slices = job.first_index
    for block in reader.blocks():
        held = np.concatenate([held, block])
        while len(held) >= batch:
            now, held = held[:batch], held[batch:]
            position += batch
            for cut in cutter.feed(now, voice.probabilities(now)):
                _hand_over(job, telling, cut)
                slices += 1
            telling.progress(position / SAMPLE_RATE)
    if len(held):
        padded = np.pad(held, (0, -len(held) % FRAME))
        for cut in cutter.feed(held, voice.probabilities(padded)):
            _hand_over(job, telling, cut)
            slices += 1
    for cut in cutter.finish():
        _hand_over(job, telling, cut)
        slices += 1
    warnings = list(reader.warnings)
    if slices == 0:
        warnings.append(
            MediaWarning(Reason.NO_SPEECH, "No speech was found in the audio, so there is nothing to search.")
        )
    telling.tell("done", duration=reader.duration, warnings=[asdict(warning) for warning in warnings])


def _hand_over(job: Job, telling: Telling, cut: Cut) -> None:
    from services.transcriber.cutter import seconds
    from services.transcriber.pcm import write_flac
    from services.transcriber.voice import to_note

    telling.wait_for_room()
    path = Path(job.spool) / f"{cut.index:05d}.flac"
    unfinished = path.with_suffix(".part")
    write_flac(unfinished, cut.samples, note=to_note(cut.voice))
    unfinished.rename(path)
    telling.tell(
        "slice",
        index=cut.index,
        start=seconds(cut.start),
        end=seconds(cut.end),
        speech_seconds=cut.speech_seconds,
        path=str(path),
    )


def main() -> int:
    """Does the job in the first argument and gives the exit status."""
    job = Job(**json.loads(sys.argv[1]))
    faulthandler.enable()  # a crash in native code says where, on standard error
    telling = Telling(room=job.room)
    limit_process(
        int(sys.argv[2]),
        memory_bytes=job.memory_bytes,
        cpu_seconds=job.cpu_seconds,
        file_bytes=_SLICE_FILE_LIMIT,
    )
    from services.transcriber.problems import MediaProblem, Reason

    try:
        decode(job, telling)
    except MediaProblem as problem:
        telling.tell("problem", reason=problem.reason, message=problem.message)
        return 3
    except MemoryError:
        message = "The media needs more memory to decode than is allowed here. Convert it to an ordinary MP4 or MP3."
        telling.tell("problem", reason=Reason.DECODING_TOO_COSTLY, message=message)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
