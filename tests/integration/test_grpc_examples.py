"""The examples for gRPC work, and leave out no public call."""

from __future__ import annotations

import asyncio
import re
import runpy
from pathlib import Path
from typing import Any

import grpc
import pytest

from earmark.v1 import search_service_pb2, transcript_service_pb2, video_pb2, video_service_pb2
from tests.support.gateway import Gateway
from tests.support.keys import ADMIN_KEY, KEYS

LINES = [(0.0, 4.25, "The yeast eats the sugar."), (4.25, 9.0, "That is what makes the bread rise.")]
VTT = b"WEBVTT\n\n00:00.000 --> 00:04.000\nThe yeast eats all the sugar.\n"
ROOT = Path(__file__).resolve().parents[2]
# By its path: it is a script, and no package of ours.
Calls: Any = runpy.run_path(str(ROOT / "examples" / "grpc_calls.py"))["Calls"]


GATEWAY = {"delete_undo_seconds": 60, **KEYS}


def every_call() -> set[str]:
    modules: list[Any] = [video_service_pb2, transcript_service_pb2, search_service_pb2]
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return {method.name for service in services for method in service.methods}


def test_no_call_is_left_out() -> None:
    shown = {"".join(word.title() for word in name.split("_")) for name in dir(Calls) if not name.startswith("_")}
    assert every_call() - shown == set()


def test_docs_have_a_line_of_grpcurl_for_every_call() -> None:
    docs = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert every_call() - set(re.findall(r"earmark\.v1\.\w+/(\w+)", docs)) == set()


async def test_each_does_what_it_says(mesh: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"media" * 500_000)

    def calling() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{mesh.settings.grpc_port}") as channel:  # noqa: TID251
            calls = Calls(channel, ADMIN_KEY)
            created = calls.create_video(path)
            assert not created.already_there
            assert calls.create_video(path).already_there
            video_id = created.video.video_id
            assert calls.create_from_uri("https://1.1.1.1/a.mp4").video_id == (
                calls.create_from_uri("https://1.1.1.1/a.mp4").video_id
            )
            imported = calls.import_video("How bread rises", LINES).video_id
            assert calls.update_video(video_id).title == "A new title"
            assert list(calls.get_video(video_id).tags) == ["bread", "baking"]
            assert len(list(calls.list_videos())) == 3
            deleted = calls.delete_video(video_id)
            assert deleted.HasField("restorable_until")
            assert next(calls.watch_video(video_id)).state == video_pb2.VIDEO_STATE_DELETING
            assert calls.restore_video(video_id).state == video_pb2.VIDEO_STATE_UPLOADED
            with pytest.raises(grpc.RpcError) as refused:
                calls.retry_video(video_id)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
            segment = calls.get_transcript(imported).segments[0]
            assert segment.text == LINES[0][2]
            assert "The yeast eats the sugar." in calls.get_captions(imported)
            assert calls.update_segment(imported, segment, "The yeast eats it.").text == "The yeast eats it."
            assert calls.put_transcript(imported, VTT).transcript_revision == 2
            assert calls.search("yeast").coverage.shards_total == 2

    await asyncio.to_thread(calling)
