"""What is of the internet, however it is spelled."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.wire.addresses import is_ambiguous, is_public, parse_address

OURS = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",  # a cloud's metadata
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # another's
    "169.254.169.254",  # most clouds'
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # another's
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",  # translated, RFC 2765
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:1:2:3:4:f5ff:fffe",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2a00::5efe:10.0.0.1",  # ISATAP
    "2a00::200:5efe:192.168.0.1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # a cloud's metadata
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
THEIRS = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2600:9000::1",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("text", OURS)
def test_what_is_near_us_or_nobodys_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", THEIRS)
def test_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_nothing_that_python_calls_private_is_public(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(address)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_the_same_for_the_wide_space(address: IPv6Address) -> None:
    wrapped = address.ipv4_mapped or address.sixtofour
    if not wrapped and (not address.is_global or address.is_multicast):
        assert not is_public(address)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_wrapping_an_address_does_not_make_it_public(inner: IPv4Address) -> None:
    number = int(inner)
    for outer in (
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | number << 80 | 1),
        IPv6Address((0x2A00 << 112) | (0x5EFE << 32) | number),
    ):
        assert is_public(outer) == is_public(inner)


LOOPBACK = IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.1",
        "127.0.1",
        "0177.1",
        "0x7f.1",
        "127.0x1",
    ],
)
def test_other_spellings_of_a_number_are_read_and_said_to_be_ambiguous(
    host: str,
) -> None:
    assert parse_address(host) == LOOPBACK
    assert is_ambiguous(host)
    assert parse_address(host + ".") == LOOPBACK


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "[127.0.0.1]"])
def test_the_usual_spelling_is_not_ambiguous(host: str) -> None:
    assert parse_address(host) == LOOPBACK
    assert not is_ambiguous(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [("[::1]", "::1"), ("fe80::1%eth0", "fe80::1"), ("[FE80::1%25lo]", "fe80::1")],
)
def test_brackets_and_zones_do_not_matter(host: str, address: str) -> None:
    assert parse_address(host) == IPv6Address(address)
    assert not is_ambiguous(host)


@pytest.mark.parametrize("host", ["08.8.8.8", "1.2.3.4.5", "256.1.1.1", "1.2.3.256"])
def test_numbers_that_are_no_address_are_ambiguous(host: str) -> None:
    """Some read 08 as 8: whoever they are, we do not ask them."""
    assert parse_address(host) is None
    assert is_ambiguous(host)


@pytest.mark.parametrize(
    "host",
    [
        *("huggingface.co", "localhost", "127.0.0.1.nip.io", "0x7f.example", "1e1"),
        *("", ".", "-1", "+1", "1_0", "::g", "a:b", "4.com", "0xg", "1.2.3.x"),
    ],
)
def test_names_are_no_addresses(host: str) -> None:
    assert parse_address(host) is None
    assert not is_ambiguous(host)


@given(st.text(max_size=40))
def test_whatever_the_host_it_is_read_or_not(host: str) -> None:
    address = parse_address(host)
    assert is_ambiguous(host) in (True, False)
    if address is not None:
        assert is_public(address) in (True, False)


@given(st.text("0123456789", min_size=4000, max_size=6000))
def test_very_long_numbers_are_no_address(host: str) -> None:
    assert parse_address(host) is None or not host.strip("0")
