"""Where links lead: to where the client has found us, or at least to us."""

import errno
import socket
from urllib.parse import urlsplit

import pytest

from tests.unit.serve.mirror import Live, Mirror, serving
from tests.unit.serve.test_hostile import talk

TARGET = b"/api/models?limit=1"


def link(live: Live, port: int, *, host: bytes | None, where: str) -> str:
    live.url = f"http://{where}:{port}"
    lines = [b"GET " + TARGET + (b" HTTP/1.0" if host is None else b" HTTP/1.1")]
    lines += [] if host is None else [b"Host: " + host, b"Connection: close"]
    answer = talk(live, b"\r\n".join([*lines, b"", b""]))
    return answer.partition(b"Link: <")[2].partition(b"/api")[0].decode()


@pytest.mark.parametrize("host", [None, b"0.0.0.0", b"0.0.0.0:%d", b"[::]:%d", b"a b"])
def test_a_link_never_leads_to_all_addresses(
    mirror: Mirror, host: bytes | None
) -> None:
    """Without a host that can be used, to our end of the client's connection."""
    with serving(mirror, host="0.0.0.0", port=0) as live:
        port = urlsplit(live.url).port or 0
        said = host % port if host and b"%" in host else host
        found = link(live, port, host=said, where="127.0.0.1")
        assert found == f"http://127.0.0.1:{port}"


def test_a_link_never_leads_to_all_addresses_of_ipv6(mirror: Mirror) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            pytest.skip("no IPv6 here")
        raise
    with serving(mirror, host="::", port=0) as live:
        port = urlsplit(live.url).port or 0
        for host in (None, b"[::]:%d" % port, b"[0:0:0:0:0:0:0:0]"):
            assert link(live, port, host=host, where="[::1]") == f"http://[::1]:{port}"


def test_a_host_that_is_one_is_what_links_say(live: Live) -> None:
    port = live.address[1]
    for host in (b"mirror.example", b"10.0.0.0:80", b"[::1]", b"0.0.0.0.example"):
        found = link(live, port, host=host, where="127.0.0.1")
        assert found == f"http://{host.decode()}"
