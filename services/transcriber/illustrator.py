"""The child process that looks at media as a player would: whether browsers play it, and what is to be seen in it.

Run as `python -m services.transcriber.illustrator` with one JSON argument (`Job`), under the limits of `child.py`. It
writes what `pictures.write` does into the folder, and tells:

    {"type": "look", "plan": {…} or null, "duration": seconds}   what is to be made of the file so that browsers play it
    {"type": "done", "count": pictures}                          the last line of a good end
    {"type": "problem", "reason", "message"}                     the last line of a bad one
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
    import av.container

    from services.transcriber.playability import Look

_FILE_LIMIT: Final = 256 * 2**20
_HEAD: Final = 64
NICE: Final = 19
"""Recognition goes first: nobody waits for a picture."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the child is asked to do.

    Attributes:
        media: Path of the media file.
        folder: Folder for what is made.
        memory_bytes: Address space this process may use.
        cpu_seconds: Processor time this process may use.
    """

    media: str
    folder: str
    memory_bytes: int
    cpu_seconds: int


def look_at(container: av.container.InputContainer, path: Path) -> Look:
    """Says what a file is, as far as playing it goes."""
    from services.transcriber.containers import format_name
    from services.transcriber.pictures import moving_track
    from services.transcriber.playability import Look

    formats = frozenset(container.format.name.split(","))
    brand = str(container.metadata.get("major_brand", "")).strip() if "mp4" in formats else ""
    if "webm" in formats:
        with path.open("rb") as file:
            brand = "webm" if b"webm" in file.read(_HEAD) else "matroska"
    video = moving_track(container)
    audio = next(iter(container.streams.audio), None)
    return Look(
        formats=formats,
        brand=brand,
        video=format_name(video) if video is not None else "",
        pixels=str(getattr(video and video.codec_context, "pix_fmt", None) or ""),
        audio=format_name(audio) if audio is not None else "",
    )


def illustrate(job: Job, telling: Telling) -> None:
    """Does the job. Raises MediaProblem where the file cannot be opened."""
    # Imported under the limits, since importing them is already a lot of foreign code.
    import av

    from services.transcriber import pictures
    from services.transcriber.containers import open_container
    from services.transcriber.playability import plan

    path = Path(job.media)
    with open_container(path) as container:
        made = plan(look_at(container, path))
        duration = container.duration / av.time_base if container.duration else 0.0
        telling.tell("look", plan=asdict(made) if made else None, duration=duration)
        track = pictures.picture_track(container)
        roll = pictures.collect(container, track, seen=telling.progress) if track is not None else None
    if roll is not None and roll.times:
        pictures.write(roll, Path(job.folder))
    telling.tell("done", count=len(roll.times) if roll is not None else 0)


def main() -> int:
    """Does the job in the first argument and gives the exit status."""
    job = Job(**json.loads(sys.argv[1]))
    faulthandler.enable()  # a crash in native code says where, on standard error
    telling = Telling(room=0)
    limit_process(
        int(sys.argv[2]),
        memory_bytes=job.memory_bytes,
        cpu_seconds=job.cpu_seconds,
        file_bytes=_FILE_LIMIT,
        niceness=NICE,
    )
    from services.transcriber.problems import MediaProblem, Reason

    try:
        illustrate(job, telling)
    except MediaProblem as problem:
        telling.tell("problem", reason=problem.reason, message=problem.message)
        return 3
    except MemoryError:
        message = "Decoding the picture needs more memory than is allowed here."
        telling.tell("problem", reason=Reason.DECODING_TOO_COSTLY, message=message)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
