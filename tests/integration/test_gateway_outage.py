"""What the gateway says while what it needs is away."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from services.common.ids import new_video_id
from tests.support.gateway import gateway
from tests.support.gateway_peers import chunk
from tests.support.mesh import common_settings
from tests.support.servers import mongo_server
from tests.support.waiting import eventually


async def test_without_the_database_search_goes_on_and_the_rest_says_why(
    nats_url: str, tmp_path: Path, object_store_url: str
) -> None:
    with ExitStack() as database:
        url = database.enter_context(mongo_server(tmp_path / "mongo"))
        async with gateway(common_settings(nats_url, url, "outage", object_store_url)) as mesh:
            mesh.index(chunk(new_video_id(), 0, "bread rises"))
            database.close()
            answer = await mesh.http.get("/search", params={"q": "bread"})
            assert len(answer.json()["hits"]) == 1
            # Each is refused once no server was found for five seconds.
            refused, upload = await asyncio.gather(
                mesh.http.get(f"/videos/{new_video_id()}"),
                mesh.http.post("/videos/upload", files={"file": ("a.mp4", b"x", "video/mp4")}),
            )
            error = refused.json()["error"]
            assert (refused.status_code, error["status"]) == (503, "UNAVAILABLE")
            assert error["details"][0]["reason"] == "DATABASE_UNAVAILABLE"
            assert upload.status_code == 503
            assert await mesh.backbone.objects.list("videos/") == []
            assert (await mesh.http.get("/healthz")).status_code == 200

            async def told() -> bool:
                ready = await mesh.http.get("/readyz")
                return ready.status_code == 503 and not ready.json()["checks"]["mongo"]["ready"]

            await eventually(told)
