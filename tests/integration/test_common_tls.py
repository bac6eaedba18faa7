"""TLS between services: both sides show a certificate of the mesh, and a renewed one is taken without a restart."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import embedder_service_pb2 as pb
from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
from services.common import rpc, tls
from services.common.runner import Service, serve
from services.common.settings import CommonSettings
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.waiting import eventually

NAME = "earmark.internal.v1.EmbedderService"


class Embedder(pb_grpc.EmbedderServiceServicer):
    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        if request.texts and request.texts[0] == "slowly":
            await asyncio.sleep(1)
        return pb.EmbedResponse(dimension=384)


@pytest.fixture(autouse=True)
def plain_again() -> Iterator[None]:
    yield
    rpc.secure(None)


@asynccontextmanager
async def serving(folder: Path, *, health_port: int = 0) -> AsyncIterator[int]:
    settings = CommonSettings(drain_seconds=0, shutdown_grace_seconds=2, tls_dir=folder, health_port=health_port)
    stop, ports = asyncio.Event(), list[int]()

    async def build(_: CommonSettings, stack: object) -> Service:
        return Service(
            servicers=[(pb_grpc.add_EmbedderServiceServicer_to_server, Embedder(), NAME)],
            on_serving=lambda port, _: ports.append(port),
        )

    task = asyncio.create_task(serve("test", settings, build, stop=stop))
    await eventually(lambda: ports)
    yield ports[0]
    stop.set()
    assert await task == 0


async def embed(channel: grpc.aio.Channel, *texts: str) -> int:
    return int((await pb_grpc.EmbedderServiceStub(channel).Embed(pb.EmbedRequest(texts=texts), timeout=5)).dimension)


async def refused(channel: grpc.aio.Channel) -> bool:
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(channel)
        return caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_who_has_a_certificate_of_the_mesh_is_served_and_nobody_else(tmp_path: Path) -> None:
    mesh, other = Authority(), Authority("somebody else")
    mesh.write(tmp_path / "server")
    mesh.write(tmp_path / "client")
    other.write(tmp_path / "stranger")
    async with serving(tmp_path / "server") as port:
        target = f"127.0.0.1:{port}"
        async with tls.channel(target, [], tls.Certificates(tmp_path / "client")) as channel:
            assert await embed(channel) == 384
        async with rpc.connect(target) as channel:  # what the service itself opens
            assert await embed(channel) == 384
        rpc.secure(None)
        assert await refused(rpc.connect(target)), "plain"
        assert await refused(tls.channel(target, [], tls.Certificates(tmp_path / "stranger"))), "of another authority"
        authority = (tmp_path / "client" / tls.AUTHORITY).read_bytes()
        options = [("grpc.ssl_target_name_override", tls.MESH_NAME)]
        assert await refused(
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authority), options=options)
        ), "without a certificate"


async def test_a_server_whose_certificate_is_not_the_meshs_is_not_called(tmp_path: Path) -> None:
    mesh = Authority()
    mesh.write(tmp_path / "server", ["elsewhere.example.org"])
    mesh.write(tmp_path / "client")
    async with serving(tmp_path / "server") as port:
        assert await refused(tls.channel(f"127.0.0.1:{port}", [], tls.Certificates(tmp_path / "client")))


async def test_renewed_files_are_taken_and_calls_under_way_end(tmp_path: Path) -> None:
    before, after = Authority(), Authority()
    for side in ("server", "client"):
        before.write(tmp_path / side)
    async with serving(tmp_path / "server") as port:
        target = f"127.0.0.1:{port}"
        certificates = tls.Certificates(tmp_path / "client")
        async with tls.channel(target, [], certificates, look_seconds=0) as channel:
            assert await embed(channel) == 384
            slow = asyncio.create_task(embed(channel, "slowly"))
            await asyncio.sleep(0)
            # Another authority altogether, so that nothing of before can be what works.
            renewed = after.write(tmp_path / "server")
            after.write(tmp_path / "client")
            assert await embed(channel) == 384
            assert await shown(port, tmp_path / "client") == renewed.serial_number
            assert await slow == 384
        before.write(tmp_path / "late")
        assert await refused(tls.channel(target, [], tls.Certificates(tmp_path / "late")))


async def test_files_that_are_away_for_a_moment_change_nothing(tmp_path: Path) -> None:
    mesh = Authority()
    mesh.write(tmp_path / "server")
    mesh.write(tmp_path / "client")
    async with serving(tmp_path / "server") as port:
        certificates = tls.Certificates(tmp_path / "client")
        channel = tls.channel(f"127.0.0.1:{port}", [], certificates, look_seconds=0)
        (tmp_path / "client" / tls.KEY).unlink()
        (tmp_path / "server" / tls.KEY).unlink()
        assert await embed(channel) == 384
        await channel.close()


async def test_a_folder_without_certificates_ends_the_service_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(tls.FailedPrecondition, match="EARMARK_TLS_DIR"):
        tls.Certificates(tmp_path)

    async def build(_: CommonSettings, stack: object) -> Service:
        raise AssertionError("it must not come to this")

    assert await serve("test", CommonSettings(tls_dir=tmp_path), build) == 1


async def test_probes_need_no_certificate_on_the_port_that_is_for_them(tmp_path: Path) -> None:
    Authority().write(tmp_path / "server")
    port = free_port()
    probe = grpc.aio.insecure_channel(f"127.0.0.1:{port}")  # noqa: TID251  (kubelet's look)
    async with serving(tmp_path / "server", health_port=port), probe as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def holds() -> bool:
            said = await stub.Check(health_pb2.HealthCheckRequest())
            return bool(said.status == health_pb2.HealthCheckResponse.SERVING)

        await eventually(holds)


async def shown(port: int, folder: Path) -> int:
    """Serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=folder / tls.AUTHORITY)
    context.load_cert_chain(folder / tls.CERTIFICATE, folder / tls.KEY)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=tls.MESH_NAME)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(found).serial_number
