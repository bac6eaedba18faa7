"""The NATS cluster of `deploy/k8s`, with its own configuration: three copies of each stream, and one server may go."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from earmark.events.v1 import events_pb2 as pb
from services.common.events import topology
from services.common.events.bus import EventBus, OwedEvent
from services.common.ids import new_video_id
from services.common.settings import CommonSettings
from tests.support import pods
from tests.support.manifests import overlay
from tests.support.servers import MissingProgram
from tests.support.waiting import eventually
from tools.k8s_secrets import make as make_secrets


async def test_streams_are_kept_three_times_and_one_server_may_go(tmp_path: Path) -> None:
    rendered, made = overlay("base"), make_secrets()
    network = f"127.{64 + secrets.randbelow(190)}.{secrets.randbelow(250)}"
    addresses = {("nats", ordinal): f"{network}.{1 + ordinal}" for ordinal in range(3)}
    told = rendered.settings()
    url = told["EARMARK_NATS_URL"]
    for (_, ordinal), address in addresses.items():
        url = url.replace(f"nats-{ordinal}.nats", address)
    settings = CommonSettings(
        nats_url=url,
        nats_token=made["earmark-nats"]["earmark_nats_token"],  # type: ignore[arg-type]
        nats_replicas=int(told["EARMARK_NATS_REPLICAS"]),
    )

    try:
        servers = pods.nats_of(rendered, tmp_path, made, addresses)
        with servers as processes:
            # Twelve at once, as a mesh does, while the servers are still finding each other.
            buses = await asyncio.gather(*(EventBus.connect(settings, name=f"test-{number}") for number in range(12)))
            bus = buses[0]
            for row in topology.STREAMS:
                info = await bus.js.stream_info(row.name)
                assert info.config.num_replicas == 3
                assert info.cluster is not None
            await publish(bus)
            leader = (await bus.js.stream_info(topology.EVENTS)).cluster.leader  # type: ignore[union-attr]
            processes[int(leader.removeprefix("nats-"))].kill()

            async def published() -> bool:
                try:
                    await publish(bus)
                except Exception:  # noqa: BLE001  # while another leader is chosen
                    return False
                return True

            await eventually(published, 60)
            assert await bus.last_sequence() >= 2, "what was acknowledged before is still there"
            for one in buses:
                await one.close()
    except MissingProgram as missing:
        pytest.skip(str(missing))


async def publish(bus: EventBus) -> None:
    video_id = new_video_id()
    await bus.publish(OwedEvent.of("video.ready", pb.VideoReady(video_id=video_id), video_id))
