"""Leaving files to a proxy: what it is told, and who is not."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from hubsync.model.digest import Digest
from hubsync.model.errors import UsageError
from hubsync.serve.accel import Accel
from hubsync.serve.folder import BlobFolder
from hubsync.serve.options import ServeOptions
from hubsync.serve.proxies import CALLER, Caller
from tests.unit.serve.conftest import BIG
from tests.unit.serve.mirror import Mirror, serving

TARGET = "/acme/handmade/resolve/main/model.bin"
HEX = Digest.of(BIG).hex
PROXY = ("127.0.0.1",)


def test_nginx_is_told_the_file_and_gets_all_headers(mirror: Mirror) -> None:
    with serving(mirror) as plain:
        want = plain.get(TARGET).headers
    how: dict[str, Any] = {"accel": "x-accel-redirect", "trusted_proxies": PROXY}
    with serving(mirror, **how) as live:
        for wanted in ({}, {"Range": "bytes=0-999999"}, {"Range": "bytes=5-,9-"}):
            answer = live.get(TARGET, **wanted)
            assert (answer.status, answer.body) == (200, b"")
            blob = f"/_blobs/sha256/{HEX[:2]}/{HEX[2:4]}/{HEX}"
            assert answer.headers["x-accel-redirect"] == blob
            assert "content-range" not in answer.headers
            same = set(want) - {"content-length", "date", "x-request-id"}
            assert {key: answer.headers[key] for key in same} == {
                key: want[key] for key in same
            }


def test_the_others_are_told_its_path(mirror: Mirror) -> None:
    with serving(mirror, accel="x-sendfile", trusted_proxies=PROXY) as live:
        path = live.get(TARGET).headers["x-sendfile"]
        assert Path(path).read_bytes() == BIG


def test_what_is_quicker_said_than_handed_on(mirror: Mirror) -> None:
    how: dict[str, Any] = {"accel": "x-accel-redirect", "trusted_proxies": PROXY}
    with serving(mirror, **how) as live:
        head = live.ask(TARGET, "HEAD")
        assert head.headers["content-length"] == str(len(BIG))
        known = live.get(TARGET, If_None_Match=head.headers["etag"])
        assert known.status == 304
        beyond = live.get(TARGET, Range=f"bytes={len(BIG)}-")
        assert beyond.status == 416
        part = live.get(TARGET, Range="bytes=10-19")
        assert (part.status, part.body) == (206, BIG[10:20])
        small = live.get("/acme/tiny-bert/resolve/main/config.json")
        assert small.body == b'{"v": 2}\n'
        for one in (head, known, beyond, part, small):
            assert "x-accel-redirect" not in one.headers


def test_who_is_no_trusted_proxy_gets_the_file(mirror: Mirror) -> None:
    """Promise: no wrong byte, and an empty body would be one."""
    how: dict[str, Any] = {
        "accel": "x-accel-redirect",
        "trusted_proxies": ("192.0.2.1",),
    }
    with serving(mirror, **how) as live:
        answer = live.get(TARGET, X_Forwarded_For="192.0.2.1")
        assert answer.body == BIG
        assert "x-accel-redirect" not in answer.headers


def test_a_path_is_encoded() -> None:
    """Proxies decode it."""
    folder = BlobFolder(Path("/a b%/blobs/sha256"), lambda digest: Path("/a b%/x"))
    options = ServeOptions(accel="x-sendfile", trusted_proxies=PROXY)
    accel = Accel(options, folder)
    request = make_mocked_request("GET", "/")
    assert accel.headers(request, Digest.of(b"")) is None
    request[CALLER] = Caller("192.0.2.7")
    assert accel.headers(request, Digest.of(b"")) == {"X-Sendfile": "/a%20b%25/x"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ServeOptions(accel="x-sendfile"), "no proxy is trusted"),
        (
            ServeOptions(
                accel="x-accel-redirect", trusted_proxies=PROXY, accel_prefix="blobs"
            ),
            "accel_prefix",
        ),
    ],
)
def test_settings_that_cannot_work(options: ServeOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Accel(options, None)
