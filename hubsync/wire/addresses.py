"""Which IP addresses belong to the public internet.  Pure.

Everything else is this machine, this network, or nobody: what a hub has no
reason to send us to.
"""

from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
)

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last bits
_IPV4_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, deprecated; still routed by some


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that *host* is; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether *address*, and any address wrapped in it, is of the internet."""
    if isinstance(address, IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a packet to *address* ends at, if it does."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
