"""Renditions: of every kind of file, in the clock of the media, and taken over where that is possible."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from services.transcriber import rendition
from services.transcriber.containers import open_container
from services.transcriber.illustrator import look_at
from services.transcriber.playability import Plan, plan
from services.transcriber.problems import MediaProblem
from services.transcriber.rendition import Clock, DecodingOrder
from tests.support.pictures import RATE, near, turned, video


def planned(path: Path) -> Plan:
    with open_container(path) as media:
        made = plan(look_at(media, path))
    assert made is not None
    return made


def rendered(path: Path, made: Plan | None = None) -> Path:
    made = made or planned(path)
    target = path.with_name(f"{path.stem}-rendition")
    with open_container(path) as media:
        size = rendition.picture_size(media)
    with open_container(path) as media:
        rendition.render(media, target, made, size=size, threads=1, step=lambda _: None)
    return target


def seen(path: Path) -> list[tuple[float, Any]]:
    """Time of each frame, and its colour."""
    with av.open(str(path)) as container:
        return [(frame.time or 0.0, frame.to_ndarray(format="rgb24")[-4, -4]) for frame in container.decode(video=0)]


def heard(path: Path) -> tuple[float, float]:
    """When the sound begins and ends."""
    with av.open(str(path)) as container:
        frames = [(frame.time or 0.0, frame.samples / frame.sample_rate) for frame in container.decode(audio=0)]
    return frames[0][0], sum(frames[-1])


@pytest.mark.parametrize(
    ("name", "given", "copied"),
    [
        ("a.mkv", {"video_codec": "libx264", "audio_codec": "aac"}, (True, True)),
        ("a.mov", {"video_codec": "libx264", "audio_codec": "aac"}, (True, True)),
        ("a.ts", {"video_codec": "libx264", "audio_codec": "aac", "container": "mpegts", "begins": 700}, (True, True)),
        ("vp9.mkv", {"video_codec": "libvpx-vp9", "audio_codec": "libopus"}, (True, True)),
        ("a.avi", {"video_codec": "mpeg4", "audio_codec": "libmp3lame"}, (False, True)),
        ("ten.mkv", {"video_codec": "libx264", "pixels": "yuv420p10le", "audio_codec": "flac"}, (False, True)),
        ("p.mov", {"video_codec": "prores_ks", "pixels": "yuv422p10le", "audio_codec": "pcm_s16le"}, (False, False)),
        ("a.mpg", {"video_codec": "mpeg2video", "audio_codec": "mp2", "container": "mpeg"}, (False, False)),
        ("a.wmv", {"video_codec": "wmv2", "audio_codec": "wmav2", "container": "asf"}, (False, False)),
    ],
)
def test_any_file_becomes_one_that_browsers_play(
    tmp_path: Path, name: str, given: dict[str, Any], copied: tuple[bool, bool]
) -> None:
    path = video(tmp_path / name, seconds=5, **given)
    made = planned(path)
    assert (made.copy_video, made.copy_audio) == copied
    target = rendered(path, made)
    with open_container(target) as media:
        assert plan(look_at(media, target)) is None, "what was made plays"
    frames = seen(target)
    assert len(frames) >= 5 * RATE - 3
    for time, pixel in frames[1:-1]:
        # AVI counts frames and knows no times: FFmpeg takes the first for the second.
        assert near(pixel, int(time + 0.001)) or (name == "a.avi" and near(pixel, int(time - 0.09))), (time, pixel)
    begin, end = heard(target)
    assert begin == pytest.approx(0, abs=0.1)
    assert end == pytest.approx(5, abs=0.2)


def test_sound_alone_stays_sound(tmp_path: Path) -> None:
    path = video(tmp_path / "a.wma", video_codec="", audio_codec="wmav2", container="asf", seconds=3)
    target = rendered(path)
    assert heard(target)[1] == pytest.approx(3, abs=0.2)
    assert rendition.content_type(planned(path), moving=False) == "audio/mp4"


def test_what_is_encoded_is_upright_square_and_not_too_large(tmp_path: Path) -> None:
    given = {"seconds": 2, "video_codec": "mpeg4", "size": (1920, 1080)}
    phone = turned(video(tmp_path / "phone.mp4", **given))
    with av.open(str(rendered(phone))) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (720, 1280)
        frame = next(container.decode(video=0))
    pixels = frame.to_ndarray(format="rgb24")
    assert pixels[100, -100].min() > 200, "the bright corner is at the upper right"
    assert pixels[100, 100].min() < 200
    wide = video(tmp_path / "wide.mkv", seconds=2, video_codec="mpeg4", size=(360, 288), shape=Fraction(16, 11))
    with av.open(str(rendered(wide))) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (524, 288)


def test_where_taking_over_fails_it_can_be_encoded(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", seconds=4, video_codec="libx264", audio_codec="aac")
    target = rendered(path, replace(planned(path), copy_video=False, copy_audio=False))
    assert all(near(pixel, int(time + 0.001)) for time, pixel in seen(target)[1:-1])


def test_a_file_that_breaks_off_is_rendered_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = video(tmp_path / "a.avi", seconds=6, video_codec="mpeg4", audio_codec="libmp3lame").read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(whole[: len(whole) // 2])
    assert 1 < heard(rendered(half))[1] < 5


def test_a_file_with_nothing_to_play_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.avi"
    with av.open(str(path), "w", format="avi") as out:
        out.add_stream("mpeg4", rate=5)
        out.start_encoding()
    with pytest.raises(MediaProblem):
        rendered(path, Plan("mp4", copy_video=False, copy_audio=False, why="a test"))


def test_a_clock_goes_on_where_timestamps_start_over() -> None:
    clock = Clock(origin=100.0)
    assert [clock.time(stamp, 0.5) for stamp in (100.0, 100.5, 101.0)] == [0.0, 0.5, 1.0]
    assert clock.time(0.0, 0.5) == 1.5, "a joined recording"
    assert clock.time(0.5, 0.5) == 2.0
    assert clock.time(None, 0.5) == 2.5
    assert clock.time(95_443.7, 0.5) == 3.0, "a wrapped counter"


@pytest.mark.parametrize("shown", [[0, 1, 2, 3], [0, 3, 1, 2, 6, 4, 5], [0, 4, 2, 1, 3, 8, 6, 5, 7], [5], []])
def test_packets_are_given_a_time_to_be_decoded_at(shown: list[int]) -> None:
    packets = []
    for stamp in shown:
        packet = av.Packet(1)
        packet.pts = stamp * 40
        packets.append(packet)
    order = DecodingOrder()
    given = [one for packet in packets for one in order.put(packet)] + list(order.rest())
    assert [packet.pts for packet in given] == [stamp * 40 for stamp in shown]
    times = [packet.dts for packet in given]
    assert times == sorted(set(times)), "they grow"
    assert all(packet.dts <= packet.pts for packet in given)


def test_a_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for start in (0, 5 * 16_000):
            loud = np.full((1, 16_000), 8_000, np.int16)
            loud[:, ::2] = -8_000
            frame = av.AudioFrame.from_ndarray(loud, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            out.mux(stream.encode(frame))
    target = rendered(path)
    with av.open(str(target)) as container:
        levels = {
            round(frame.time or 0, 1): float(np.abs(frame.to_ndarray()).mean()) for frame in container.decode(audio=0)
        }
    assert max(level for time, level in levels.items() if 1.3 < time < 4.7) < 0.001
    assert max(level for time, level in levels.items() if 5.2 < time < 5.8) > 0.001
