"""What the gateway delivers, in a real browser: renditions play, at the right second, and pictures are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support.local_mesh import LocalMesh
from tests.support.pictures import near, video
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.timeout(300)
# Gives what a player shows at a second: size, length and the colour of a pixel at the lower right.
PLAYED = """async ([source, second]) => {
    const player = document.createElement("video");
    player.muted = true;
    player.src = source;
    await new Promise((done, fail) => {
        player.onloadeddata = done;
        player.onerror = () => fail(player.error.message);
    });
    player.currentTime = second;
    await new Promise((done) => { player.onseeked = done; });
    const canvas = document.createElement("canvas");
    canvas.width = player.videoWidth;
    canvas.height = player.videoHeight;
    const pen = canvas.getContext("2d");
    pen.drawImage(player, 0, 0);
    const pixel = Array.from(pen.getImageData(canvas.width - 4, canvas.height - 4, 1, 1).data).slice(0, 3);
    return { width: canvas.width, height: canvas.height, duration: player.duration, pixel };
}"""
SEEN = """async (source) => {
    const picture = new Image();
    picture.src = source;
    await picture.decode();
    return [picture.naturalWidth, picture.naturalHeight];
}"""


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("old.avi", {"video_codec": "mpeg4", "audio_codec": "libmp3lame"}),
        pytest.param(
            "recording.mkv",
            {"video_codec": "libx264", "audio_codec": "aac", "key_every": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "broadcast.ts",
            {"video_codec": "mpeg2video", "audio_codec": "mp2", "container": "mpegts", "begins": 40},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_a_browser_does_not_play_is_played_and_seen(
    mesh: LocalMesh, browser: Browser, tmp_path: Path, name: str, given: dict[str, Any]
) -> None:
    path = video(tmp_path / name, seconds=8, size=(320, 180), **given)
    with mesh.client() as client:
        video_id = client.upload(path, title=name).video_id
    with httpx.Client(base_url=mesh.url, timeout=20) as http:

        def made() -> dict[str, Any] | None:
            shown: dict[str, Any] = http.get(f"/v1/videos/{video_id}").json()
            assert shown["playable"] != "failed", shown["playable_message"]
            seen = http.get(f"/v1/videos/{video_id}/thumbnail").is_success
            return shown if seen and shown["playable"] == "rendition" else None

        shown = eventually_sync(made, 120, retry_on=(), message="the rendition and pictures")
        track = http.get(shown["links"]["sprites"])
        sheet = str(httpx.URL(shown["links"]["sprites"]).join(track.text.splitlines()[3].partition("#")[0]))
    page = browser.new_page(base_url=mesh.url)
    page.goto("/docs")
    for second in (1.5, 6.5):
        played = page.evaluate(PLAYED, [shown["links"]["media"], second])
        assert (played["width"], played["height"]) == (320, 180)
        assert played["duration"] == pytest.approx(8, abs=0.3)
        assert near(played["pixel"], int(second)), (second, played)
    assert page.evaluate(SEEN, f"{shown['links']['thumbnail']}?t=4") == [320, 180]
    assert page.evaluate(SEEN, sheet)[1] == 90
    page.close()
