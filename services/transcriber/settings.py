"""Settings of the transcriber."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.common.settings import CommonSettings

Role = Literal["slicer", "recognizer", "preparer"]


class Settings(CommonSettings):
    """Read from `EARMARK_…`."""

    grpc_port: int = Field(default=50051, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    transcriber_roles: Annotated[frozenset[Role], NoDecode] = Field(
        default=frozenset({"slicer", "recognizer", "preparer"}), min_length=1
    )
    """What this process does, comma-separated: `slicer` decodes and cuts media, `recognizer` transcribes slices
    (and serves Transcribe), `preparer` makes pictures, and renditions of what browsers do not play. Deployments with
    one role each scale on their own."""

    asr_model: str = "base"
    """Speech model: a folder with a CTranslate2 Whisper model, or a name known to faster-whisper, which is
    downloaded once (never where HF_HUB_OFFLINE is set)."""
    recognizer: Literal["whisper", "scripted"] = "whisper"
    """What recognizes; `scripted` needs no model and says words that have nothing to do with the audio."""
    recognizer_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model computes."""
    recognizer_compute_type: str = "auto"
    """Numbers the model computes with, a CTranslate2 name; auto is int8 on a CPU and float16 on a GPU."""
    recognizer_workers: int = Field(default=0, ge=0, le=256)
    """Child processes, each with a model of its own; 0 is one a core as far as memory goes, or one on a GPU."""
    recognizer_threads: int = Field(default=1, ge=1, le=64)
    """Threads of each; one gains the most from the cores (docs/benchmarks.md)."""
    recognizer_beam: int = Field(default=1, ge=1, le=10)
    """Beams of the search; 1 is greedy and takes a fifth to a quarter less time, but gets more words wrong (6.4 % of
    real English speech against 5.6 %, docs/benchmarks.md)."""
    recognizer_queue: int = Field(default=4, ge=0, le=1000)
    """Transcribe calls that may wait for a worker; one more is refused."""
    recognizer_max_attempts: int = Field(default=5, ge=1, le=20)
    """Attempts at a slice, those that ended with a crash included, before it is given up."""
    recognizer_memory_mib: int = Field(default=0, ge=0)
    """Address space of each worker, which then keeps to one thread; 0 is no limit."""
    recognizer_seconds_per_second: float = Field(default=10, gt=0, le=1000)
    """Time limit of a slice for each second of its audio, beyond the first minute."""

    slice_seconds: float = Field(default=300, ge=10, le=1800)
    """Length of slice aimed at; the cut is made in the longest silence from 0.6 to 1.2 times that."""
    first_slice_seconds: float = Field(default=60, ge=5, le=1800)
    """Length aimed at for the first slice, so that the beginning is searchable soon; then each may be twice as long."""
    slicer_concurrency: int = Field(default=2, ge=1, le=64)
    """Videos decoded at the same moment; the open ones take turns, a slice each, those with fewer slices first."""
    slicer_open_videos: int = Field(default=8, ge=1, le=256)
    """Videos fetched or cut in turns at once, each with a process of about 100 MiB once it is decoded; a new upload
    waits only when all of these are taken."""
    slicer_max_attempts: int = Field(default=3, ge=1, le=20)
    """Times the decoder may die on a video before it is given up."""
    decoder_memory_mib: int = Field(default=2048, ge=512)
    """Address space of the process that decodes media."""
    decoder_cpu_seconds: int = Field(default=3600, ge=10)
    """Processor time that decoding one file may take."""
    decoder_stall_seconds: float = Field(default=120, ge=1)
    """Time without progress after which decoding is stopped."""
    decoder_spool_slices: int = Field(default=1, ge=1, le=1000)
    """Slices that a decoder may be ahead of its turn, beside the one it works on."""
    pictures_at_once: int = Field(default=1, ge=1, le=64)
    """Videos that pictures are made of at once, each in a process that stands back behind all others."""
    pictures_cpu_seconds: int = Field(default=900, ge=10)
    """Processor time that the pictures of one video may take."""
    renditions_at_once: int = Field(default=1, ge=1, le=64)
    """Renditions that are worked on at the same moment; the open ones take turns, those that have had the least
    first."""
    renditions_open: int = Field(default=4, ge=1, le=64)
    """Renditions that are open at once, each with a process of about 150 MiB and a file of its size on disk."""
    rendition_threads: int = Field(default=1, ge=1, le=64)
    """Threads that each of them decodes and encodes with."""
    rendition_step_seconds: float = Field(default=10, gt=0, le=600)
    """Processor time of a turn."""
    rendition_cpu_per_second: float = Field(default=3, gt=0, le=100)
    """Processor time that a rendition may take for each second of its media, beyond the first two minutes."""
    preparer_max_attempts: int = Field(default=3, ge=1, le=20)
    """Times that making pictures, or a rendition, may fail before it is given up."""

    spool_dir: Path | None = None
    """Folder for files under way; the system's temporary folder when unset."""
    max_media_seconds: float = Field(default=48 * 3600, ge=1)
    """Longest media accepted."""

    max_upload_bytes: int = Field(default=8 * 2**30, ge=1)
    """Size limit of media fetched by URL, in bytes."""
    allow_private_urls: bool = False
    """Whether media may be fetched from private and loopback addresses."""
    fetch_stall_seconds: float = Field(default=60, gt=0, le=3600)
    """Time without a byte after which a fetch is given up."""
    fetch_total_seconds: float = Field(default=6 * 3600, gt=0)
    """Time for a whole fetch."""
    fetch_max_attempts: int = Field(default=8, ge=1, le=20)
    """Attempts at fetching before the video fails."""

    @field_validator("transcriber_roles", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return frozenset(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
