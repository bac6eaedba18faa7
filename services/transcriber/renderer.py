"""The child process that makes a rendition: what browsers play, of media that they do not.

Run as `python -m services.transcriber.renderer` with one JSON argument (`Job`), under the limits of `child.py`. It
works for a while for each line on standard input, so that several may take turns, and tells:

    {"type": "step", "seconds"}                       it has worked for a while, and is so far in the media
    {"type": "done", "content_type", "copied"}        the last line of a good end; copied: nothing was encoded anew
    {"type": "problem", "reason", "message"}          the last line of a bad one
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from services.transcriber.child import Telling, limit_process
from services.transcriber.illustrator import NICE, look_at

_SPARE_CPU_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Job:
    """What the child is asked to do.

    Attributes:
        media: Path of the media file.
        target: File to write.
        threads: Threads that decode and encode.
        step_cpu_seconds: Processor time between two lines.
        cpu_per_second: Processor time that each second of the media may take.
        memory_bytes: Address space this process may use.
        cpu_seconds: Processor time this process may use, whatever the media says of its length.
        file_bytes: Size of the rendition at most.
    """

    media: str
    target: str
    threads: int
    step_cpu_seconds: float
    cpu_per_second: float
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int


class _Steps:
    """Lets the work go on for a while, then waits to be told to."""

    def __init__(self, telling: Telling, cpu_seconds: float) -> None:
        self._telling = telling
        self._cpu = cpu_seconds
        self._since = time.process_time()

    def __call__(self, seconds: float) -> None:
        if time.process_time() - self._since >= self._cpu:
            self._telling.tell("step", seconds=round(seconds, 3))
            self._telling.wait_for_room()
            self._since = time.process_time()
        else:
            self._telling.progress(seconds)


def render(job: Job, telling: Telling) -> None:
    """Does the job. Raises MediaProblem where the media cannot be opened, or nothing of it decoded."""
    # Imported under the limits, since importing them is already a lot of foreign code.
    import av

    from services.transcriber import rendition
    from services.transcriber.containers import open_container
    from services.transcriber.pictures import moving_track
    from services.transcriber.playability import plan

    path, target = Path(job.media), Path(job.target)
    step = _Steps(telling, job.step_cpu_seconds)
    with open_container(path) as media:
        if media.duration:
            most = _SPARE_CPU_SECONDS + round(media.duration / av.time_base * job.cpu_per_second)
            resource.setrlimit(resource.RLIMIT_CPU, (min(most, job.cpu_seconds), job.cpu_seconds + 5))
        made = plan(look_at(media, path))
        assert made is not None, "a file that plays was to be rendered"
        moving = moving_track(media) is not None
        size = rendition.picture_size(media)
    content_type = rendition.content_type(made, moving=moving and (made.copy_video or size is not None))
    try:
        with open_container(path) as media:
            rendition.render(media, target, made, size=size, threads=job.threads, step=step)
    except av.FFmpegError:
        if not (made.copy_video or made.copy_audio):
            raise
        # Its timestamps, or what is inside, cannot be taken over as they are.
        made = replace(made, copy_video=False, copy_audio=False)
        with open_container(path) as media:
            rendition.render(media, target, made, size=size, threads=job.threads, step=step)
    telling.tell("done", content_type=content_type, copied=made.copies)


def main() -> int:
    """Does the job in the first argument and gives the exit status."""
    job = Job(**json.loads(sys.argv[1]))
    faulthandler.enable()  # a crash in native code says where, on standard error
    telling = Telling(room=0)
    limit_process(
        int(sys.argv[2]),
        memory_bytes=job.memory_bytes,
        cpu_seconds=job.cpu_seconds,
        file_bytes=job.file_bytes,
        niceness=NICE,
    )
    telling.wait_for_room()
    from services.transcriber.problems import MediaProblem, Reason

    try:
        render(job, telling)
    except MediaProblem as problem:
        telling.tell("problem", reason=problem.reason, message=problem.message)
        return 3
    except MemoryError:
        message = "Encoding the media needs more memory than is allowed here."
        telling.tell("problem", reason=Reason.DECODING_TOO_COSTLY, message=message)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
