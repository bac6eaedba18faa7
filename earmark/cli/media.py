"""Which files and URLs an `earmark ingest` means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earmark.client import SpeechOptions

# What a folder is searched for; a file that is named is sent whatever it is called, and the mesh decides.
_VIDEO = "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
_AUDIO = "aac aif aiff flac m4a m4b mka mp3 oga ogg opus wav wma"
EXTENSIONS = frozenset(f".{name}" for name in f"{_VIDEO} {_AUDIO}".split())


@dataclass(frozen=True, slots=True)
class Source:
    """A file or a URL to ingest; without a title it gets its name's."""

    label: str
    path: Path | None = None
    url: str = ""
    title: str = ""
    collection: str = ""
    tags: tuple[str, ...] = ()
    speech: SpeechOptions = field(default_factory=SpeechOptions, hash=False)
    captions: bytes | None = None
    """A transcript there is already, as WebVTT, SubRip or JSON; a file's only, and None where there is none."""


class NoSuchSource(Exception):
    """Something named is neither a file, a folder with media, nor a URL."""


def is_url(text: str) -> bool:
    """Whether it is a URL the gateway can fetch."""
    return text.startswith(("http://", "https://", "s3://"))


def sources(given: Sequence[str]) -> list[Source]:
    """The files and URLs that arguments name, each once; folders are searched for media, in order of name.

    Raises:
        NoSuchSource: one of them names nothing.
    """
    found: dict[str, Source] = {}
    for text in given:
        for source in _of(text):
            found.setdefault(source.url or str(source.path), source)
    return list(found.values())


def _of(text: str) -> Iterator[Source]:
    if is_url(text):
        yield Source(label=text.rstrip("/").rpartition("/")[2] or text, url=text)
        return
    path = Path(text).expanduser()
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if _is_media(file, path)]
        if not inside:
            raise NoSuchSource(f"{text} holds no video or audio files.")
        yield from (Source(label=file.name, path=file) for file in inside)
    elif path.is_file():
        yield Source(label=path.name, path=path)
    else:
        raise NoSuchSource(f"{text} is neither a file, a folder, nor an http(s) or s3 URL.")


def _is_media(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in EXTENSIONS and file.is_file()
