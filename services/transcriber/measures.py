"""What the transcriber measures of itself."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from services.common.metrics import WORK_SECONDS

REAL_TIME_FACTOR = Histogram(
    "earmark_transcriber_real_time_factor",
    "Seconds of work for each second of audio recognized; 0.1 is ten times as fast as speech.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5),
)
AUDIO_SECONDS = Counter("earmark_transcriber_audio_seconds", "Audio recognized, in seconds.")
SPEECH_SECONDS = Counter("earmark_transcriber_sliced_speech_seconds", "Speech found while slicing, in seconds.")
SLICE_SECONDS = Histogram(
    "earmark_transcriber_slice_seconds",
    "Length of the slices cut.",
    buckets=(5, 15, 30, 60, 120, 180, 240, 300, 360, 600),
)
SLICING_SECONDS = Histogram("earmark_transcriber_slicing_seconds", "Time to cut a whole video.", buckets=WORK_SECONDS)
FETCHED_BYTES = Counter("earmark_transcriber_fetched_bytes", "Media fetched by URL, in bytes.")
FAILURES = Counter("earmark_transcriber_failures", "What could not be done, by reason.", ["role", "reason"])
PICTURES = Counter("earmark_transcriber_pictures", "Pictures made of videos.")
RENDITIONS = Counter(
    "earmark_transcriber_renditions", "Renditions made: `copied` where nothing had to be encoded.", ["way"]
)
PREPARING_SECONDS = Histogram(
    "earmark_transcriber_preparing_seconds",
    "Time to make the pictures, or the rendition, of a video, waiting for turns included.",
    ["what"],
    buckets=WORK_SECONDS,
)
SEGMENTS = Counter("earmark_transcriber_segments", "Segments recognized.")
SUSPECT_SEGMENTS = Counter("earmark_transcriber_suspect_segments", "Segments that likely nobody said.")
