"""Records the examples of the API's description from a running mesh: python tools/api_examples.py [URL].

Takes a mesh whose samples are in (`make run`), adds what the examples need, and takes it away again. Uploads past the
gateway are recorded only where the object store is S3; elsewhere their examples stay as they are.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.gateway.http.openapi import EXAMPLES  # noqa: E402

SHORT = 2
"""Entries that are kept of a list."""
FETCHED, SHOWN = "https://1.1.1.1/", "https://example.org/"
"""An address that may be fetched wherever this runs, and what stands for it."""
WAIT_SECONDS = 120.0


class Recorder:
    """Asks, and keeps what was asked and answered.

    Args:
        http: Speaks to the mesh.
        examples: Those there are, by method and path.
    """

    def __init__(self, http: httpx.Client, examples: dict[str, Any]) -> None:
        self._http = http
        self.examples = examples

    def ask(self, method: str, route: str, *, query: Any = None, body: Any = None, **ids: str) -> Any:
        """Asks, keeps the example under the route's name, and gives the whole answer."""
        response = self._http.request(method, route.format(**ids), params=query, json=body)
        response.raise_for_status()
        answer = response.json()
        example: dict[str, Any] = {} if body is None else {"request": body}
        self.examples[f"{method} {route}"] = {**example, "code": str(response.status_code), "answer": short(answer)}
        return answer


def short(value: Any) -> Any:
    """Gives a value with its lists cut short."""
    if isinstance(value, dict):
        return {name: short(one) for name, one in value.items()}
    return [short(one) for one in value[:SHORT]] if isinstance(value, list) else value


def until(done: Callable[[], bool]) -> None:
    """Waits until something holds. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to that")
        time.sleep(0.5)  # noqa: TID251  (there is no event loop)


def record(http: httpx.Client, recorder: Recorder) -> None:
    """Goes through the API."""
    ask = recorder.ask
    sample = next(one for one in http.get("/v1/videos").json()["videos"] if one["status"] == "ready")["video_id"]
    ask("GET", "/v1/search", query={"q": "how does the phone measure distance", "limit": 1})
    ask("GET", "/v1/videos", query={"limit": 1})
    ask("GET", "/v1/videos/{video_id}", video_id=sample)
    ask("GET", "/v1/videos/{video_id}/status", video_id=sample)
    ask("GET", "/v1/videos/{video_id}/transcript", video_id=sample)
    for route in ("/v1/shards", "/v1/shards/digests", "/v1/operations", "/v1/keys/self", "/healthz", "/readyz"):
        ask("GET", route)
    ask("POST", "/v1/shards/plan", body={"shards": 3})
    ask("POST", "/v1/shards/move", body={"slots": [17, 18], "to": 1})
    ask("POST", "/v1/shards/cancel", body={})
    ask("POST", "/v1/shards/scale", body={"shards": http.get("/v1/shards").json()["shards_total"]})
    ask("POST", "/v1/shards/rebuild", body={"all": True})
    _videos(http, recorder)
    _past(http, recorder)
    _keys(recorder)


def _videos(http: httpx.Client, recorder: Recorder) -> None:
    ask = recorder.ask
    said = [{"start": 0.0, "end": 4.2, "text": "The yeast eats the sugar.", "speaker": "Ann"}]
    new = {"title": "How bread rises", "language": "en", "collection": "baking", "tags": ["bread"], "segments": said}
    video = ask("POST", "/v1/videos/import", body=new)["video_id"]
    until(lambda: http.get(f"/v1/videos/{video}").json()["status"] == "ready")
    ask(
        "PATCH", "/v1/videos/{video_id}", body={"title": "How bread rises", "tags": ["bread", "baking"]}, video_id=video
    )
    segment = http.get(f"/v1/videos/{video}/transcript").json()["segments"][0]["segment_id"]
    route = "/v1/videos/{video_id}/transcript/segments/{segment}"
    ask("PATCH", route, body={"text": "The yeast eats all the sugar."}, video_id=video, segment=segment)
    ask("PUT", "/v1/videos/{video_id}/transcript", body={"segments": said}, video_id=video)
    ask("DELETE", "/v1/videos/{video_id}", video_id=video)
    ask("POST", "/v1/videos/{video_id}/restore", video_id=video)
    http.delete(f"/v1/videos/{video}", params={"now": True}).raise_for_status()

    broken = http.post("/v1/videos/upload", files={"file": ("talk.mp4", b"no media", "video/mp4")})
    broken.raise_for_status()
    recorder.examples["POST /v1/videos/upload"] = {"code": "202", "answer": short(broken.json())}
    video = broken.json()["video_id"]
    until(lambda: http.get(f"/v1/videos/{video}").json()["status"] == "failed")
    ask("POST", "/v1/videos/{video_id}/retry", video_id=video)
    http.delete(f"/v1/videos/{video}", params={"now": True}).raise_for_status()
    video = ask("POST", "/v1/videos", body={"url": f"{FETCHED}talk.mp4", "title": "How bread rises"})["video_id"]
    http.delete(f"/v1/videos/{video}", params={"now": True}).raise_for_status()


def _past(http: httpx.Client, recorder: Recorder) -> None:
    """Uploads past the gateway, where the object store is S3."""
    data = b"no media"
    new = {"filename": "talk.mp4", "bytes": len(data), "title": "How bread rises"}
    if http.post("/v1/uploads", json=new).status_code == httpx.codes.CONFLICT:
        print("the object store is a folder: examples of uploads past the gateway stay as they are")
        return
    upload = recorder.ask("POST", "/v1/uploads", body=new)["upload_id"]
    signed = recorder.ask("POST", "/v1/uploads/{upload_id}/parts", body={"parts": [1]}, upload_id=upload)
    httpx.put(signed["parts"][0]["url"], content=data).raise_for_status()
    recorder.ask("GET", "/v1/uploads/{upload_id}", upload_id=upload)
    video = recorder.ask("POST", "/v1/uploads/{upload_id}/complete", upload_id=upload)["video_id"]
    http.delete(f"/v1/videos/{video}", params={"now": True}).raise_for_status()


def _keys(recorder: Recorder) -> None:
    new = {"name": "Ann's site", "scopes": ["read"], "collections": ["talks"], "expires_in_days": 90}
    made = recorder.ask("POST", "/v1/keys", body=new)
    secret = recorder.examples["POST /v1/keys"]["answer"]
    secret["key"] = f"{secret['key'].rpartition('_')[0]}_…"  # a real one would set off whoever looks for leaked keys
    recorder.ask("GET", "/v1/keys")
    recorder.ask("GET", "/v1/keys/{key_id}", key_id=made["key_id"])
    recorder.ask("DELETE", "/v1/keys/{key_id}", key_id=made["key_id"])


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
    before = json.loads(EXAMPLES.read_text()) if EXAMPLES.exists() else {}
    with httpx.Client(base_url=url, timeout=60) as http:
        recorder = Recorder(http, before)
        record(http, recorder)
    text = json.dumps(dict(sorted(recorder.examples.items())), indent=1, ensure_ascii=False)
    text = re.sub(r'"http://127\.0\.0\.1:\d+/', f'"{SHOWN}', text)  # the object store's
    EXAMPLES.write_text(text.replace(FETCHED, SHOWN) + "\n")
    print(f"{len(recorder.examples)} examples in {EXAMPLES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
