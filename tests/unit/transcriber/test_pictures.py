"""Pictures: of the right second, the right way up, of the right shape, and of as few as are allowed."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from services.transcriber import pictures
from services.transcriber.containers import open_container
from services.transcriber.pictures import Roll, Shot
from tests.support.media import MediaMaker, Tone
from tests.support.pictures import near, turned, video


def taken(path: Path) -> Roll:
    with open_container(path) as container:
        track = pictures.picture_track(container)
        assert track is not None
        return pictures.collect(container, track)


def frames(roll: Roll) -> list[np.ndarray]:
    """The pictures, as large as they are kept."""
    return [decoded(shot.jpegs[-1]) for shot in roll.shots]


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", None),
        ("a.mkv", "libx264", None),
        ("a.webm", "libvpx-vp9", None),
        ("a.avi", "mpeg4", None),
        ("a.ts", "mpeg2video", "mpegts"),
        ("a.mov", "mjpeg", None),
    ],
)
def test_each_picture_is_of_its_second(tmp_path: Path, name: str, codec: str, container: str | None) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = video(tmp_path / name, seconds=8, video_codec=codec, container=container, pixels=pixels)
    roll = taken(path)
    # In a transport stream, which has no index, the key frame behind a second is found where the one before is not.
    assert [round(time) for time in roll.times] == ([0, 3, 5, 7] if container == "mpegts" else [0, 2, 4, 6])
    for time, frame in zip(roll.times, frames(roll), strict=True):
        assert near(frame[-4, -4], int(time + 0.05)), (time, frame[-4, -4])


def test_a_change_of_scene_between_two_wanted_seconds_is_kept(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", seconds=9, video_codec="libx264", key_every=3)
    assert [round(time) for time in taken(path).times] == [0, 3, 6]


def test_a_clock_that_begins_late_is_moved_as_players_do(tmp_path: Path) -> None:
    path = video(tmp_path / "a.ts", seconds=6, video_codec="mpeg2video", container="mpegts", begins=500)
    roll = taken(path)
    assert [round(time) for time in roll.times] == [0, 3, 5]
    assert near(frames(roll)[1][-4, -4], 3)


def test_pixels_are_shown_square_and_upright(tmp_path: Path) -> None:
    wide = video(tmp_path / "wide.mp4", seconds=2, video_codec="libx264", shape=Fraction(2, 1))
    assert frames(taken(wide))[0].shape == (64, 192, 3)
    phone = turned(video(tmp_path / "phone.mp4", seconds=2, video_codec="libx264"))
    shown = frames(taken(phone))[0]
    assert shown.shape == (96, 64, 3)
    # The bright corner, upper left as stored, is at the upper right when turned clockwise.
    assert shown[8, -8].min() > 200
    assert shown[8, 8].min() < 200


def test_there_are_never_too_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "MOST", 5)
    path = video(tmp_path / "a.mp4", seconds=30, video_codec="libx264")
    assert len(taken(path).times) <= 6
    roll = Roll(apart=1.0)  # where the length is not known they are thinned out on the way
    for second in range(100):
        if roll.wants(second):
            roll.add(float(second), Shot.of(np.zeros((2, 2, 3), np.uint8)))
    assert len(roll.times) <= 5
    assert roll.times == sorted(roll.times)
    assert roll.times[-1] > 50


def test_sound_alone_has_none_and_its_cover_is_one(tmp_path: Path, media: MediaMaker) -> None:
    with open_container(media.wav([Tone(1.0)])) as container:
        assert pictures.picture_track(container) is None
    cover = pictures.jpeg(np.full((50, 50, 3), 128, np.uint8), 5)
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as out, av.open(io.BytesIO(cover), format="jpeg_pipe") as picture:
        sound = out.add_stream("libmp3lame", rate=44_100)
        front = out.add_stream_from_template(picture.streams.video[0])
        front.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44_100
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            out.mux(packet)
        for packet in picture.demux():
            if packet.size:
                packet.stream = front
                out.mux(packet)
    roll = taken(path)
    assert (len(roll.times), frames(roll)[0].shape) == (1, (50, 50, 3))
    with open_container(path) as container:
        assert pictures.moving_track(container) is None


def test_a_damaged_file_gives_what_can_be_decoded(tmp_path: Path) -> None:
    whole = video(tmp_path / "a.mkv", seconds=8, video_codec="libx264")
    data = whole.read_bytes()
    half = tmp_path / "half.mkv"
    half.write_bytes(data[: len(data) // 2])
    assert taken(half).times[0] == 0
    scrambled = tmp_path / "scrambled.mkv"
    rng = np.random.default_rng(1)
    damaged = bytearray(data)
    for at in rng.integers(2000, len(data), 60):
        damaged[at] = int(rng.integers(256))
    scrambled.write_bytes(bytes(damaged))
    assert len(taken(scrambled).times) <= 5


def test_what_is_written_is_found_by_its_index(tmp_path: Path) -> None:
    roll = taken(video(tmp_path / "a.mp4", seconds=26, video_codec="libx264", size=(640, 360)))
    pictures.write(roll, tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["times"] == roll.times
    for size in index["sizes"]:
        data = (tmp_path / f"{size['longest']}.jpgs").read_bytes()
        assert size["offsets"][-1] == len(data)
        for place, (start, end) in enumerate(zip(size["offsets"], size["offsets"][1:], strict=False)):
            shown = decoded(data[start:end])
            assert shown.shape[1] == size["longest"]
            assert near(shown[-4, -4], int(roll.times[place] + 0.05))
    tile = index["tile"]
    sheet = decoded((tmp_path / "sheet-0.jpg").read_bytes())
    assert sheet.shape == (2 * tile["height"], tile["columns"] * tile["width"], 3)
    for place, time in enumerate(roll.times):
        left, top = place % tile["columns"] * tile["width"], place // tile["columns"] * tile["height"]
        assert near(sheet[top + tile["height"] - 8, left + tile["width"] - 8], int(time + 0.05))


def decoded(jpeg: bytes) -> np.ndarray:
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")
