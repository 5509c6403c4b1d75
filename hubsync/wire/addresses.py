"""Which IP addresses belong to the public internet.  Pure.

Everything else is this machine, this network, or nobody: what a hub has no
reason to send us to.

The tables are our own.  Those of `ipaddress` differ between the Pythons we run
on, and older ones call 192.0.0.192 (a cloud's metadata service) global.
"""

import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)

# https://www.iana.org/assignments/iana-ipv4-special-registry
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # this network; 0.0.0.0 connects to this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # not in the registry: a cloud's wire server
        "169.254.0.0/16",  # link-local, most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks, and what fake-IP resolvers answer
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and 255.255.255.255
    )
)
# Only this part of the IPv6 space has been given out to the internet at all.
_UNICAST_V6 = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last bits
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: the bits before them
_LOW_32 = 0xFFFF_FFFF

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_OCTETS = 4


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that *host* is; None for a name.

    Also as ``2130706433``, ``0177.0.0.1``, ``0x7f.1`` or ``127.1``, which the
    system's resolver, or that of a proxy, takes for 127.0.0.1.
    """
    bare = _bare(host)
    try:
        return IPv6Address(bare) if ":" in bare else _parse_v4(bare)
    except AddressValueError:
        return None


def is_ambiguous(host: str) -> bool:
    """Whether *host* is a number that not everybody reads alike.

    ``010.0.0.1`` is 8.0.0.1 for C and 10.0.0.1 for others.  No name of the
    internet ends in a number.
    """
    bare = _bare(host)
    if ":" in bare or not _NUMBER.fullmatch(bare.rpartition(".")[2]):
        return False
    try:
        IPv4Address(bare)
    except AddressValueError:
        return True
    return False


def _bare(host: str) -> str:
    """*host* without brackets, zone, and the dot of a full name."""
    return host.strip("[]").partition("%")[0].removesuffix(".").lower()


def _parse_v4(text: str) -> IPv4Address | None:
    """As C's ``inet_aton``: the last number fills all the octets that are left."""
    parts = text.split(".")
    if len(parts) > _OCTETS or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *first, last = [_number(part) for part in parts]
    except ValueError:  # 08, or far too many digits
        return None
    if any(number > 0xFF for number in first):  # noqa: PLR2004 - an octet
        return None
    left = 8 * (_OCTETS - len(first))
    if last >> left:
        return None
    head = sum(number << 8 * (3 - n) for n, number in enumerate(first))
    return IPv4Address(head | last)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether *address*, and any address wrapped in it, is of the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    return address in _UNICAST_V6 and not any(
        address in network for network in _NOT_PUBLIC_V6
    )


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a packet to *address* ends at, if it does."""
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (number >> 32) & _LOW_32 in _ISATAP:
        return IPv4Address(number & _LOW_32)
    return None
