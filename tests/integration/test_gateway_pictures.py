"""Pictures and renditions over HTTP: the right one, kept by browsers, and nobody's who may not see the video."""

from __future__ import annotations

import httpx

from services.common.events import topology
from services.common.objects import rendition_key
from services.common.settings import CommonSettings
from services.common.videos.model import PictureSet, Playable, Playback, Rendition
from tests.support.gateway import Gateway, gateway
from tests.support.keys import KEYS, bearer, make_key, upload
from tests.support.stored_pictures import pixels, put_pictures

RENDITION = Rendition("01h0000000000000000000000r", "video/mp4", 9)


def reason(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["details"][0]["reason"]


async def wanted(mesh: Gateway) -> int:
    info = await mesh.backbone.bus.js.stream_info(topology.EVENTS, subjects_filter="earmark.v1.video.stored.>")
    return sum((info.state.subjects or {}).values())


async def test_the_picture_of_a_moment_is_the_last_one_before_it(mesh: Gateway) -> None:
    video = await mesh.upload()
    path = video["links"]["thumbnail"]
    await put_pictures(mesh.backbone.videos, mesh.backbone.objects, video["video_id"])
    for asked, width, second in [
        ({"t": "0"}, 480, 0),
        ({"t": "9.9"}, 480, 0),
        ({"t": "10"}, 480, 10),
        ({"t": "83.2", "width": "320"}, 480, 20),
        ({"t": "12", "width": "100"}, 240, 10),
        ({"t": "12", "width": "4000"}, 480, 10),
        ({}, 480, 0),
    ]:
        answer = await mesh.http.get(path, params=asked)
        assert (answer.status_code, answer.content) == (200, pixels(width, second)), asked
        assert answer.headers["content-type"] == "image/jpeg"
    for wrong in ("x", "-1", "nan", "1e99"):
        assert reason(await mesh.http.get(path, params={"t": wrong})) == (400, "INVALID_ARGUMENT")


async def test_a_picture_is_kept_for_good_and_never_sent_twice(mesh: Gateway) -> None:
    video = await mesh.upload()
    path = video["links"]["thumbnail"]
    await put_pictures(mesh.backbone.videos, mesh.backbone.objects, video["video_id"])
    first = await mesh.http.get(path, params={"t": 5})
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = await mesh.http.get(path, params={"t": 5}, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    dated = await mesh.http.get(path, params={"t": 5}, headers={"If-Modified-Since": first.headers["last-modified"]})
    assert dated.status_code == 304
    other = await mesh.http.get(path, params={"t": 15}, headers={"If-None-Match": first.headers["etag"]})
    assert (other.status_code, other.content) == (200, pixels(480, 10))
    head = await mesh.http.head(path, params={"t": 5})
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
    assert head.headers["content-length"] == str(len(first.content))
    await put_pictures(mesh.backbone.videos, mesh.backbone.objects, video["video_id"], [0.0, 4.0])
    fresh = await mesh.http.get(path, params={"t": 5}, headers={"If-None-Match": first.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (200, pixels(480, 4))


async def test_the_track_says_where_each_small_picture_is(mesh: Gateway) -> None:
    video = await mesh.upload()
    track = video["links"]["sprites"]
    await put_pictures(mesh.backbone.videos, mesh.backbone.objects, video["video_id"])
    answer = await mesh.http.get(track)
    assert answer.headers["content-type"].startswith("text/vtt")
    assert answer.text.splitlines() == [
        "WEBVTT",
        "",
        "00:00:00.000 --> 00:00:10.000",
        "sprites/0.jpg#xywh=0,0,160,90",
        "",
        "00:00:10.000 --> 00:00:20.000",
        "sprites/0.jpg#xywh=160,0,160,90",
        "",
        "00:00:20.000 --> 00:00:21.000",
        "sprites/1.jpg#xywh=0,0,160,90",
    ]
    assert (await mesh.http.get(track, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    sheet = await mesh.http.get(str(httpx.URL(track).join("sprites/1.jpg")))
    assert (sheet.content, sheet.headers["content-type"]) == (b"<sheet 1>", "image/jpeg")
    assert reason(await mesh.http.get(str(httpx.URL(track).join("sprites/2.jpg")))) == (404, "NO_PICTURE")


async def test_a_video_from_before_has_its_pictures_made_when_they_are_asked_for(mesh: Gateway) -> None:
    video = await mesh.upload()
    assert await wanted(mesh) == 1, "one that is uploaded has them made at once"
    answer = await mesh.http.get(video["links"]["thumbnail"])
    assert reason(answer) == (404, "NO_PICTURE")
    assert answer.headers["retry-after"] == "5"
    assert await wanted(mesh) == 2
    await mesh.http.get(video["links"]["thumbnail"])
    await mesh.http.get(video["links"]["media"])
    assert await wanted(mesh) == 2, "and not again for each time it is asked for"


async def test_what_has_nothing_to_see_says_so(mesh: Gateway) -> None:
    video = await mesh.upload()
    await mesh.backbone.videos.set_pictures(video["video_id"], PictureSet(reason="NO_PICTURE"))
    answer = await mesh.http.get(video["links"]["thumbnail"])
    assert reason(answer) == (404, "NO_PICTURE")
    assert "retry-after" not in answer.headers
    shown = (await mesh.http.get(video["links"]["self"])).json()
    assert (shown["links"]["thumbnail"], shown["links"]["sprites"]) == (None, None)
    imported = (
        await mesh.http.post("/videos/import", json={"title": "x", "segments": [{"start": 0, "end": 1, "text": "x"}]})
    ).json()
    answer = await mesh.http.get(f"/videos/{imported['video_id']}/thumbnail")
    assert reason(answer) == (404, "NO_PICTURE")


async def test_pictures_are_of_those_who_may_see_the_video(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, **KEYS) as mesh:
        mine = (await make_key(mesh, collections=["mine"], scopes=["read", "upload"]))["key"]
        theirs = (await make_key(mesh, collections=["theirs"], scopes=["read", "upload"]))["key"]
        video = (await upload(mesh, mine, collection="mine")).json()
        await put_pictures(mesh.backbone.videos, mesh.backbone.objects, video["video_id"])
        plain = f"/v1/videos/{video['video_id']}"
        for path in ("thumbnail", "sprites.vtt", "sprites/0.jpg"):
            assert (await mesh.http.get(f"{plain}/{path}", headers=bearer(mine))).status_code == 200
            assert (await mesh.http.get(f"{plain}/{path}", headers=bearer(theirs))).status_code == 404
            assert (await mesh.http.get(f"{plain}/{path}")).status_code == 401
        kept = await mesh.http.get(f"{plain}/thumbnail", headers=bearer(mine))
        assert kept.headers["cache-control"].startswith("private")

        # A signed URL is a secret in itself: caches that many share may keep it as long as it is good.
        signed = await mesh.http.get(f"{video['links']['thumbnail']}&t=12")
        assert signed.content == pixels(480, 10)
        assert signed.headers["cache-control"].startswith("public, max-age=")
        age = int(signed.headers["cache-control"].split("=")[1].split(",")[0])
        assert 6 * 3600 - 60 < age <= 9 * 3600
        track = await mesh.http.get(video["links"]["sprites"])
        name = track.text.splitlines()[3]
        sheet = await mesh.http.get(str(httpx.URL(video["links"]["sprites"]).join(name)))
        assert sheet.content == b"<sheet 0>"


async def test_where_browsers_do_not_play_the_original_they_are_given_the_rendition(mesh: Gateway) -> None:
    video = await mesh.upload(b"the original", "a talk.mkv", "video/x-matroska")
    videos, video_id, path = mesh.backbone.videos, video["video_id"], video["links"]["media"]
    assert video["playable"] is None
    before = await mesh.http.get(path)
    assert (before.content, before.headers["cache-control"]) == (b"the original", "no-cache")

    await videos.set_playback(video_id, Playback(Playable.PREPARING, "UNPLAYABLE", "Browsers do not play this."))
    shown = (await mesh.http.get(video["links"]["self"])).json()
    assert (shown["playable"], shown["playable_message"]) == ("preparing", "Browsers do not play this.")
    assert (await mesh.http.get(path)).headers["cache-control"] == "no-cache"

    await mesh.backbone.objects.put(rendition_key(video_id, RENDITION.name), b"rendition")
    await videos.set_playback(video_id, Playback(Playable.RENDITION, rendition=RENDITION))
    played = await mesh.http.get(path, headers={"If-None-Match": before.headers["etag"]})
    assert (played.status_code, played.content) == (200, b"rendition")
    assert played.headers["content-type"] == "video/mp4"
    assert played.headers["content-disposition"] == "inline; filename*=UTF-8''a%20talk.mp4"
    assert played.headers["cache-control"] == "private, max-age=86400"
    part = await mesh.http.get(path, headers={"Range": "bytes=3-", "If-Range": played.headers["etag"]})
    assert (part.status_code, part.content) == (206, b"dition")
    dated = await mesh.http.get(path, headers={"Range": "bytes=3-", "If-Range": played.headers["last-modified"]})
    assert (dated.status_code, dated.content) == (206, b"dition")
    stale = await mesh.http.get(path, headers={"Range": "bytes=3-", "If-Range": before.headers["etag"]})
    assert (stale.status_code, stale.content) == (200, b"rendition"), "bytes of two files are never joined"
    for asked in ("original", "download"):
        original = await mesh.http.get(path, params={asked: "true"})
        assert (original.content, original.headers["etag"]) == (b"the original", before.headers["etag"])

    await videos.set_playback(video_id, Playback(Playable.FAILED, "DECODER_FAILED", "It could not be converted."))
    assert (await mesh.http.get(path)).content == b"the original"
    assert (await mesh.http.get(video["links"]["status"])).json()["playable"] == "failed"


async def test_captions_are_asked_for_again_but_sent_once(mesh: Gateway) -> None:
    files = {
        "file": ("a.mp4", b"x", "video/mp4"),
        "captions": ("a.vtt", b"WEBVTT\n\n00:00.000 --> 00:02.000\nBread rises.\n", "text/vtt"),
    }
    path = (await mesh.http.post("/videos/upload", files=files)).json()["links"]["transcript"]
    first = await mesh.http.get(path, params={"format": "vtt"})
    assert first.headers["cache-control"] == "private, no-cache"
    held = {"If-None-Match": first.headers["etag"]}
    assert (await mesh.http.get(path, params={"format": "vtt"}, headers=held)).status_code == 304
    assert (await mesh.http.get(path, params={"format": "srt"}, headers=held)).status_code == 200
    head = await mesh.http.head(path, params={"format": "vtt"})
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
    changed = await mesh.http.patch(
        f"{path}/segments/00000.0", json={"text": "Bread sinks."}, headers={"If-Match": first.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text
    again = await mesh.http.get(path, params={"format": "vtt"}, headers=held)
    assert (again.status_code, "sinks" in again.text) == (200, True)
