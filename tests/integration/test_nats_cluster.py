"""The NATS cluster of `deploy/k8s`, with its own configuration, in TLS: three copies of each stream, and one may go."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from pathlib import Path

import pytest

from earmark.events.v1 import events_pb2 as pb
from services.common.events import topology
from services.common.events.bus import EventBus, OwedEvent
from services.common.ids import new_video_id
from services.common.settings import CommonSettings
from tests.support import pods
from tests.support.certificates import Authority
from tests.support.manifests import overlay
from tests.support.servers import MissingProgram, find_program
from tests.support.waiting import eventually, eventually_sync
from tools.k8s_secrets import make as make_secrets


async def test_streams_are_kept_three_times_and_one_server_may_go(tmp_path: Path) -> None:
    rendered, made, authority = overlay("prod"), make_secrets(tls=True), Authority()
    own = tmp_path / "client"
    authority.write(own)
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
        tls_dir=own,
    )

    try:
        servers = pods.nats_of(rendered, tmp_path, made, addresses, authority)
        with servers as processes:
            # Twelve at once, as a mesh does, while the servers are still finding each other.
            buses = await asyncio.gather(*(EventBus.connect(settings, name=f"test-{number}") for number in range(12)))
            bus = buses[0]
            for row in topology.STREAMS:
                info = await bus.js.stream_info(row.name)
                assert info.config.num_replicas == 3
                assert info.cluster is not None
            await publish(bus)
            assert await asyncio.to_thread(refused, f"{network}.9", f"{network}.1", own)
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


def refused(own: str, known: str, certificate: Path) -> bool:
    """Whether a server with a certificate of the mesh, but without its servers' password, is turned away."""
    tls = f'cert_file: "{certificate}/tls.crt", key_file: "{certificate}/tls.key", ca_file: "{certificate}/ca.crt"'
    conf = certificate / "stranger.conf"
    conf.write_text(
        f'server_name: stranger\nlisten: "{own}:4222"\n'
        f'cluster {{ name: earmark, listen: "{own}:6222", tls {{ {tls} }}, routes: ["nats-route://{known}:6222"] }}\n'
    )
    program = find_program("nats-server")
    assert program is not None
    log = certificate / "stranger.log"
    with log.open("wb") as output:
        server = subprocess.Popen([program, "--config", str(conf)], stdout=output, stderr=output)
    try:
        return eventually_sync(lambda: "Authorization Violation" in log.read_text(), 30)
    finally:
        server.kill()
        server.wait()


async def publish(bus: EventBus) -> None:
    video_id = new_video_id()
    await bus.publish(OwedEvent.of("video.ready", pb.VideoReady(video_id=video_id), video_id))
