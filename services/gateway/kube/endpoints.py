"""Where the pods of a Service are, from its EndpointSlices: known as soon as the cluster knows it."""

from __future__ import annotations

from collections.abc import Iterable

from services.gateway.addresses import Address, Known, join
from services.gateway.kube.api import ENDPOINT_SLICES, Json, KubeApi
from services.gateway.kube.mirror import LONGEST_PAUSE_SECONDS, RESYNC_SECONDS, Mirror

SERVICE_LABEL = "kubernetes.io/service-name"
_FAMILIES = ("IPv4", "IPv6", "FQDN")


class EndpointSliceAddresses(Known):
    """The pods behind a Service.

    Pods that are not ready are in, too: whoever asks them hears it from themselves, and sooner.

    Args:
        api: The Kubernetes API.
        service: Name of the Service.
        port: Name of its port.
        resync_seconds: Time after which the slices are listed again, in case an event was lost.
        longest_pause_seconds: Time between two tries while the API is away, at most.
    """

    def __init__(
        self,
        api: KubeApi,
        *,
        service: str,
        port: str = "grpc",
        resync_seconds: float = RESYNC_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        super().__init__()
        self._port = port
        self._mirror = Mirror(
            api,
            ENDPOINT_SLICES,
            labels=f"{SERVICE_LABEL}={service}",
            changed=lambda slices: self._set(addresses_of(slices, port=port)),
            resync_seconds=resync_seconds,
            longest_pause_seconds=longest_pause_seconds,
        )

    def assume(self, targets: Iterable[str]) -> None:
        """Says where the pods probably are, for as long as the cluster has not been asked yet."""
        if not self.synced:
            self._set([Address(target) for target in targets])

    @property
    def synced(self) -> bool:
        """Whether the cluster has been asked successfully since the start."""
        return self._mirror.synced

    async def run(self) -> None:
        """Follows the slices, for ever."""
        await self._mirror.run()


def addresses_of(slices: Iterable[Json], *, port: str) -> list[Address]:
    """Reads EndpointSlices: one address for each pod.

    A pod is in several slices where the cluster has two address families, and for a moment while its slice is divided.
    """
    found: dict[str, tuple[tuple[bool, int], Address]] = {}
    for one in slices:
        number = _port(one, port)
        if number is None:
            continue
        family = _FAMILIES.index(one["addressType"]) if one.get("addressType") in _FAMILIES else len(_FAMILIES)
        for endpoint in one.get("endpoints") or ():
            # The addresses of an endpoint are interchangeable, and only the first is to be used.
            target = join(endpoint["addresses"][0], number)
            owner = str((endpoint.get("targetRef") or {}).get("uid", ""))
            leaving = bool((endpoint.get("conditions") or {}).get("terminating"))
            preference = (leaving, family)
            if (owner or target) not in found or preference < found[owner or target][0]:
                found[owner or target] = preference, Address(target, owner, leaving)
    return sorted(address for _, address in found.values())


def _port(one: Json, name: str) -> int | None:
    """The port of this name, else the only one there is."""
    ports = [port for port in one.get("ports") or () if port.get("port")]
    named = [port for port in ports if port.get("name") == name]
    chosen = named or (ports if len(ports) == 1 else [])
    return int(chosen[0]["port"]) if chosen else None
