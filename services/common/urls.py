"""Which URLs the mesh may fetch from: no address inside the network, however it is written or redirected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from services.common.errors import AddressRefused, InvalidArgument, Unavailable

URL_LENGTH = 2048
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, schemes: Collection[str] = ("http", "https", "s3")) -> str:
    """Checks the form of a URL to fetch, without the network, and gives it stripped.

    Raises:
        InvalidArgument: It is no URL of `schemes`, has no host, is too long, or carries a name and password.
    """
    url = url.strip()
    if not url or len(url) > URL_LENGTH:
        raise InvalidArgument(f"the URL is empty or longer than {URL_LENGTH} characters", field="url")
    if any(ord(character) < 33 or ord(character) == 127 for character in url):
        raise InvalidArgument("the URL has a space or a control character in it; percent-encode it", field="url")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument(f"this is not a URL: {error}", field="url") from error
    if parts.scheme.lower() not in schemes:
        raise InvalidArgument(f"the URL must begin with {' or '.join(f'{s}://' for s in sorted(schemes))}", field="url")
    if not host:
        raise InvalidArgument("the URL has no host", field="url")
    if port == 0:
        raise InvalidArgument("the URL has port 0", field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidArgument("the URL carries a name or password, which would be shown; leave it out", field="url")
    return url


def is_public(address: Address) -> bool:
    """Says whether an address is on the internet: not private, loopback, link-local, shared, multicast or reserved."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    elif address in _SHARED:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


async def resolve(host: str, port: int, *, allow_private: bool = False) -> list[str]:
    """Gives the addresses of a host, all of them checked; connect to these and not to the name.

    Raises:
        AddressRefused: One of them is inside the network, and `allow_private` is false.
        InvalidArgument: There is no such host.
        Unavailable: Names cannot be resolved just now.
    """
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise Unavailable(f"the name {host!r} cannot be resolved just now; try again") from error
        raise InvalidArgument(f"there is no host {host!r}", reason="HOST_NOT_FOUND", field="url") from error
    except UnicodeError as error:
        raise InvalidArgument(f"{host!r} is no name of a host", field="url") from error
    addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
    if not allow_private:
        for text in addresses:
            if not is_public(ipaddress.ip_address(text.partition("%")[0])):
                raise AddressRefused(
                    f"{host!r} is inside the network, and nothing is fetched from there;"
                    " set EARMARK_ALLOW_PRIVATE_URLS=true to allow it",
                    field="url",
                )
    return addresses


async def check_reachable(url: str, *, allow_private: bool = False) -> str:
    """Checks form and, for http(s), addresses of a URL before it is accepted, and gives it stripped.

    It is checked again when it is fetched: a name can be made to point elsewhere in between.

    Raises:
        InvalidArgument: As for `check_url`; or there is no such host.
        AddressRefused: It points inside the network.
    """
    url = check_url(url)
    parts = urlsplit(url)
    if parts.scheme.lower() != "s3":
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
        await resolve(parts.hostname or "", port, allow_private=allow_private)
    return url
