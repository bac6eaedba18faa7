"""Writes slides and speech into one MP4: H.264 and AAC, index first."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import PictureType, VideoFrame
from PIL import Image

from maker.speech import Speech

FRAMES_PER_SECOND = 5
# A key frame every ten seconds (and at every new slide) keeps a seek to at most 49 cheap frames of a still picture.
KEY_FRAME_EVERY = 50
AUDIO_BITS_PER_SECOND = 48_000


def write_mp4(path: Path, speech: Speech, picture_at: Callable[[float], Image.Image], title: str) -> None:
    """Encodes the talk.

    Args:
        path: file to write.
        speech: sound and slide times.
        picture_at: RGB picture shown at a second.
        title: goes into the file's metadata.
    """
    frames = int(np.ceil(speech.duration * FRAMES_PER_SECOND))
    slide_frames = {int(np.ceil(start * FRAMES_PER_SECOND)) for start in speech.slide_starts}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = title
        # A fixed date and no encoder version: the same script gives the same bytes.
        container.flags |= 0x0400  # AVFMT_FLAG_BITEXACT
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        size = picture_at(0.0).size
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.gop_size = KEY_FRAME_EVERY
        video.options = {
            "crf": "25",
            "preset": "slow",
            "tune": "stillimage",
            "profile": "high",
            "threads": "1",
            "x264-params": "scenecut=0",
        }
        audio = container.add_stream("aac", rate=speech.sample_rate, layout="mono")
        audio.bit_rate = AUDIO_BITS_PER_SECOND
        audio.time_base = Fraction(1, speech.sample_rate)
        step = 1024
        sent = 0
        for number in range(frames):
            second = number / FRAMES_PER_SECOND
            frame = VideoFrame.from_image(picture_at(second)).reformat(format="yuv420p")
            frame.pts = number
            frame.time_base = Fraction(1, FRAMES_PER_SECOND)
            if number in slide_frames:
                frame.pict_type = PictureType.I
            container.mux(video.encode(frame))
            # Sound goes in as the pictures do, so that both lie side by side in the file and it plays while loading.
            until = len(speech.samples) if number == frames - 1 else round((second + 0.2) * speech.sample_rate)
            while sent < until:
                block = speech.samples[sent : sent + step]
                sound = AudioFrame.from_ndarray(block[np.newaxis, :], format="fltp", layout="mono")
                sound.sample_rate = speech.sample_rate
                sound.pts = sent
                sound.time_base = Fraction(1, speech.sample_rate)
                container.mux(audio.encode(sound))
                sent += len(block)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
