"""Whether a request comes straight from a proxy that we were told to believe."""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web

from hubsync.model.errors import UsageError

Network = IPv4Network | IPv6Network
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - not bound here


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as in ``serve.trusted_proxies``.

    Raises:
        UsageError: naming the first that is none.
    """
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise UsageError(
                f"serve.trusted_proxies: {error}",
                hint="Write addresses or networks: 10.0.0.7, 10.0.0.0/24, ::1.",
            ) from None
    return tuple(found)


def is_here(host: str) -> bool:
    """Whether only this machine can connect to what listens on *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def peer_of(request: web.Request) -> IPv4Address | IPv6Address | None:
    """Who has the other end of the connection; None: a unix socket.

    Not ``request.remote``, which is whom a proxy says it speaks for.

    Raises:
        ConnectionResetError: nobody has, any more.
    """
    if request.transport is None:
        raise ConnectionResetError("the client has left")
    name = request.transport.get_extra_info("peername")
    if name is None:  # gone before it was accepted, which must not pass for a socket
        raise ConnectionResetError("the client has left")
    if not isinstance(name, tuple):
        return None
    return address_of(name[0])


def address_of(text: str) -> IPv4Address | IPv6Address:
    """*text* as an address: of an IPv4 client of an IPv6 socket, the IPv4 one.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_trusted(request: web.Request, networks: Iterable[Network]) -> bool:
    """Whether *request* was handed over by one of *networks*, or a unix socket.

    Whoever may open the socket's file was let in by its permissions.
    """
    peer = peer_of(request)
    return peer is None or any(peer in network for network in networks)
