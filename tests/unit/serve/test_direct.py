"""Past the router, a request is answered as by way of it."""

import socket

import pytest

from hubsync.serve import app
from tests.unit.serve.mirror import File, Live, Mirror, serving

_CONFIG = "/acme/one/resolve/main/config.json"
_LISTED = "/api/models/acme/one/paths-info/main"
ASKED = [
    f"GET {_CONFIG}",
    f"HEAD {_CONFIG}",
    f"GET http://elsewhere{_CONFIG}",
    f"GET {_CONFIG} Expect: 100-continue",
    f"GET {_CONFIG} Upgrade: websocket",
    f"POST {_LISTED} Expect: 100-continue",
    f"DELETE {_CONFIG}",
    "GET http://elsewhere",
    "GET //a/b",
    "GET /?a=b",
    "GET a/b",
    "OPTIONS *",
    "OPTIONS /a",
    "CONNECT elsewhere:443",
]


def _told(live: Live, asked: str) -> list[bytes]:
    method, target, *extra = asked.split(" ", 2)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *extra, "Connection: close"]
    got = b""
    with socket.create_connection(live.address, 10) as one:
        one.sendall("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
        while more := one.recv(4096):
            got += more
    changing = (b"date:", b"x-request-id:")
    return [one for one in got.split(b"\r\n") if not one.lower().startswith(changing)]


def test_the_router_says_the_same(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_mirror.publish("acme/one", {"config.json": File(b"first")})
    with serving(own_mirror) as live:
        quick = {asked: sorted(_told(live, asked)) for asked in ASKED}
    monkeypatch.setattr(app, "go_directly", lambda *_: None)
    with serving(own_mirror) as live:
        assert quick == {asked: sorted(_told(live, asked)) for asked in ASKED}
