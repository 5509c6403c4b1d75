"""The shortest way says what the long way says, and is taken only where it can."""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import pytest
from aiohttp import web

from hubsync.catalog.catalog import Catalog
from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoType
from hubsync.serve.limits import Guarded
from hubsync.serve.site import Site
from tests.unit.serve.mirror import WAIT_S, File, Live, Mirror, oid, serving

BIG = os.urandom(900_000)
FILES = {
    "config.json": File(b'{"a": 1}'),
    "empty.txt": File(b""),
    "mid.bin": File(BIG[:100_000]),
    "sub dir/é.bin": File(BIG, lfs=True),
    "pointer.bin": File(b"not here", lfs=True, held=False),
}


@dataclass
class Answered:
    """What has gone the long way so far."""

    targets: list[str]


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> Answered:
    answered = Answered([])
    dispatch = Site.dispatch

    async def noting(self: Site, request: web.Request) -> web.StreamResponse:
        answered.targets.append(request.raw_path)
        return await dispatch(self, request)

    monkeypatch.setattr(Site, "dispatch", noting)
    return answered


@pytest.fixture
def hot(own_mirror: Mirror, long_way: Answered) -> Iterator[Live]:
    own_mirror.publish("a/b", FILES)
    with serving(own_mirror) as live:
        yield live


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps little for a client: the rest of an answer waits for it."""
    made = Guarded.connection_made

    def smaller(self: Guarded, transport: asyncio.BaseTransport) -> None:
        out = transport.get_extra_info("socket")
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        made(self, transport)

    monkeypatch.setattr(Guarded, "connection_made", smaller)


@dataclass(frozen=True)
class Reply:
    first: bytes
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, and the bytes as they are."""

    def __init__(self, live: Live, buffer: int = 0) -> None:
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(live.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def more(self) -> None:
        got = self._socket.recv(65536)
        assert got, "the server hung up"
        self._rest += got

    def read(self, *, is_head: bool = False) -> Reply:
        while b"\r\n\r\n" not in self._rest:
            self.more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        pairs = (line.decode("latin-1").split(": ", 1) for line in lines)
        headers = {name.lower(): text for name, text in pairs}
        length = 0 if is_head else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self.more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Reply(first, headers, body)

    def ask(self, target: str, method: str = "GET", more: str = "") -> Reply:
        self.send(request(target, method, more))
        return self.read(is_head=method == "HEAD")


def request(target: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: h\r\n{more}\r\n".encode()


def target_of(path: str, revision: str = "main") -> str:
    return f"/a/b/resolve/{revision}/{quote(path)}"


def alike(one: Reply, other: Reply) -> None:
    """But for what is new in every answer."""
    for name in ("x-request-id", "date"):
        assert one.headers[name]
        assert other.headers[name]
    assert one.headers["x-request-id"] != other.headers["x-request-id"]
    kept = [
        {k: v for k, v in reply.headers.items() if k not in ("x-request-id", "date")}
        for reply in (one, other)
    ]
    assert kept[0] == kept[1]
    assert one.first == other.first
    assert one.body == other.body


RANGES = (
    *("", "bytes=0-9", "bytes=0-", "bytes=-7", "bytes=5-5", "bytes=100-299999"),
    *("bytes=200000-", "bytes=0-899999", "bytes=7-3", "bytes=0-1,4-5", "lines=1-2"),
    *("bytes=9999999-", "bytes=0-99999999999999999999999", "bytes=-0", "BYTES=1-2"),
)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_is_the_same_either_way(hot: Live, path: str, method: str) -> None:
    target = target_of(path)
    with Client(hot) as client:
        client.ask(target, method)
        for asked in RANGES:
            more = f"Range: {asked}\r\n" if asked else ""
            short = client.ask(target, method, more)
            # A query is never known beforehand.
            alike(client.ask(f"{target}?download=true", method, more), short)


@pytest.mark.parametrize(
    ("path", "method", "more"),
    [
        ("config.json", "GET", ""),
        ("config.json", "HEAD", "User-Agent: x\r\nAccept: */*\r\n"),
        ("config.json", "GET", "Connection: Keep-Alive\r\n"),
        ("mid.bin", "GET", "range: bytes=1-70000\r\n"),
        ("sub dir/é.bin", "GET", "Range: bytes=0-899999\r\n"),
        ("sub dir/é.bin", "GET", "Range:bytes=3-\r\nAuthorization: Bearer x\r\n"),
        ("sub dir/é.bin", "HEAD", "Accept-Encoding: identity\r\n"),
    ],
)
def test_what_was_asked_before_goes_the_short_way(
    hot: Live, long_way: Answered, path: str, method: str, more: str
) -> None:
    target = target_of(path)
    with Client(hot) as client:
        client.ask(target, "HEAD")
        assert long_way.targets == [target]
        for _ in range(3):
            assert client.ask(target, method, more).first.split()[1] in (b"200", b"206")
        assert long_way.targets == [target]
    text = hot.get("/metrics").body.decode()  # all before it is counted by now
    counted = re.findall(
        r'requests_total{method="(\w+)",route="resolve",.*} (\d)', text
    )
    assert sum(int(number) for _, number in counted) == 4
    assert (method, "3") in counted or method == "HEAD"
    assert len(hot.requests()) == 5


@pytest.mark.parametrize(
    "more",
    [
        "If-None-Match: *\r\n",
        'If-Range: "x"\r\nRange: bytes=0-1\r\n',
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X-Forwarded-Host: evil\r\n",
        "X-Unheard-Of: 1\r\n",
        "Range: bytes=0-1\r\nRange: bytes=2-3\r\n",
        "Range:\r\nRange: bytes=2-3\r\n",
        "User-Agent: caf\xe9\r\n",
        "User-Agent: a\tb\r\n",
        f"Cookie: {'x' * 2100}\r\n",
    ],
)
def test_what_is_not_known_to_the_letter_goes_the_long_way(
    hot: Live, long_way: Answered, more: str
) -> None:
    target = target_of("config.json")
    with Client(hot) as client:
        client.ask(target)
        client.send(request(target, "GET", more))
        if "chunked" in more:
            client.send(b"0\r\n\r\n")
        reply = client.read()
        if "Expect" in more:
            reply = client.read()
    assert reply.first.split()[1] in (b"200", b"206", b"304")
    assert long_way.targets == [target] * 2


@pytest.mark.parametrize(
    "more",
    [
        "Cookie: a=Range: bytes=2-3\r\n",
        "Cookie: a=Range: bytes=2-3\r\nRange: bytes=10-19\r\n",
        "Range: bytes=10-19\r\nCookie: a=Range: bytes=2-3\r\n",
        "Range: bytes=10-19\r\nRange: bytes=2-3\r\n",
        'If-Range: "x"\r\nRange: bytes=2-3\r\n',
        "X-Range: bytes=2-3\r\n",
        "Range: bytes=899990-900009\r\n",
        "Range: bytes=900000-900009\r\n",
        "Range: bytes=3-2\r\n",
    ],
)
def test_headers_that_look_like_known_ones_are_read_anew(hot: Live, more: str) -> None:
    target = target_of("sub dir/é.bin")
    with Client(hot) as client:
        for known in ("", "Range: bytes=2-3\r\n", "Range: bytes=10-19\r\n", more):
            for cookie in ("", "Cookie: a=\r\n", "Cookie: a=Range: bytes=2-3\r\n"):
                client.ask(target, "GET", cookie + known)
        short = client.ask(target, "GET", more)
        alike(client.ask(f"{target}?download=true", "GET", more), short)


def test_a_request_in_a_body_is_none(hot: Live, long_way: Answered) -> None:
    """Smuggled: what a proxy took for a body must not be answered as a request."""
    target = target_of("config.json")
    inner = request(target)
    with Client(hot) as client:
        client.ask(target)
        for length in (
            f"Content-Length: {len(inner)}\r\n",
            "Transfer-Encoding: chunked\r\n",
        ):
            head = request("/api/models/a/b/paths-info/main", "POST", length)
            client.send(head)
            hot.get("/healthz")  # by now it has come alone
            if "chunked" in length:
                client.send(b"%x\r\n" % len(inner))
                hot.get("/healthz")
                client.send(inner)
                hot.get("/healthz")
                client.send(b"\r\n0\r\n\r\n")
            else:
                client.send(inner)
            reply = client.read()
            assert reply.first.split()[1] != b"206"
            assert reply.body != b'{"a": 1}'
        # And what comes next on the connection is a request again.
        assert client.ask(target).body == b'{"a": 1}'


def test_a_request_that_a_header_goes_on_with_is_none(
    hot: Live, long_way: Answered
) -> None:
    target, other = target_of("config.json"), target_of("mid.bin")
    with Client(hot) as client:
        client.ask(target)
        client.send(f"GET {other} HTTP/1.1\r\nCookie: a=".encode())
        hot.get("/healthz")  # by now it has come alone
        client.send(request(target))
        assert client.read().body == FILES["mid.bin"].data
        assert client.ask(target).body == b'{"a": 1}'
    assert long_way.targets == [target, "/healthz", other]


@pytest.mark.parametrize("step", [1, 3, 50])
def test_a_request_that_comes_in_pieces_is_one(hot: Live, step: int) -> None:
    target = target_of("config.json")
    with Client(hot) as client:
        client.ask(target)
        whole = request(target) + request(target, "HEAD") + request(target)
        for at in range(0, len(whole), step):
            client.send(whole[at : at + step])
        for is_head in (False, True, False):
            assert client.read(is_head=is_head).first == b"HTTP/1.1 200 OK"
        assert client.ask(target).body == b'{"a": 1}'


def test_requests_that_come_at_once_are_answered_in_turn(hot: Live) -> None:
    big, small = target_of("sub dir/é.bin"), target_of("config.json")
    with Client(hot) as client:
        client.ask(big, "HEAD")
        client.ask(small)
        client.send(
            request(big) + request(small) + request(big, "HEAD") + request(small)
        )
        assert client.read().body == BIG
        assert client.read().body == b'{"a": 1}'
        assert client.read(is_head=True).headers["content-length"] == str(len(BIG))
        assert client.read().body == b'{"a": 1}'


@pytest.mark.usefixtures("little_room")
def test_a_slow_client_gets_all_of_it_and_the_next_answer_after_it(
    hot: Live, long_way: Answered
) -> None:
    big, small = target_of("sub dir/é.bin"), target_of("config.json")
    with Client(hot, buffer=4096) as client:
        client.ask(big, "HEAD")
        client.ask(small)
        before = [*long_way.targets]
        for _ in range(3):
            # More than the two buffers hold: the rest waits until it is read.
            client.send(request(big, "GET", "Range: bytes=1-\r\n"))
            client.more()
            client.send(request(small))
            reply = client.read()
            assert (reply.first.split()[1], reply.body) == (b"206", BIG[1:])
            assert client.read().body == b'{"a": 1}'
        assert big not in long_way.targets[len(before) :]
    sent = [one for one in hot.requests() if "206" in one]
    assert len(sent) == 3


@pytest.mark.usefixtures("little_room")
def test_what_is_finished_later_is_counted_as_all_of_it(hot: Live) -> None:
    big = target_of("sub dir/é.bin")
    with Client(hot, buffer=4096) as client:
        client.ask(big, "HEAD")
        client.send(request(big, "GET", "Range: bytes=1-\r\n"))
        hot.get("/healthz")  # by now it has begun
        assert client.read().body == BIG[1:]
    text = hot.get("/metrics").body.decode()
    assert 'requests_total{method="GET",route="resolve",status="206"} 1' in text
    assert f'response_bytes_total{{route="resolve"}} {len(BIG) - 1}' in text


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("more", ["User-Agent: a\r\n" * 2, "Accept:\r\n" * 150])
def test_what_is_no_request_to_aiohttp_is_refused(hot: Live, more: str) -> None:
    """And not in the middle of an answer that has begun."""
    big = target_of("sub dir/é.bin")
    with Client(hot, buffer=4096) as client:
        client.ask(big, "HEAD")
        reply = client.ask(big, "GET", f"Range: bytes=0-899999\r\n{more}")
    assert reply.first.split()[1] == b"400"
    assert b"That is no request" in reply.body


def test_what_fails_in_the_middle_goes_on_where_it_was(
    hot: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent from its start once more, a part would be taken for another."""
    sendfile, offsets = os.sendfile, list[int]()

    def failing_once(out: int, file: int, offset: int, length: int) -> int:
        offsets.append(offset)
        if len(offsets) == 2:
            raise OSError(errno.ENOMEM, "no memory")
        return sendfile(out, file, offset, min(length, 300_000))

    big = target_of("sub dir/é.bin")
    with Client(hot) as client:
        client.ask(big, "HEAD")
        monkeypatch.setattr(os, "sendfile", failing_once)
        reply = client.ask(big, "GET", "Range: bytes=0-899999\r\n")
    assert reply.body == BIG
    assert offsets == [0, 300_000, 300_000, 600_000]


def test_a_catalog_that_cannot_be_read_is_answered_about(
    hot: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Catalog) -> object:
        raise HubsyncError("the catalog cannot be read")

    target = target_of("config.json")
    with Client(hot) as client:
        client.ask(target)
        monkeypatch.setattr(Catalog, "data_version", failing)
        for _ in range(2):
            assert client.ask(target).first.split()[1] == b"500"
        assert client.ask("/api/agent-harnesses").first.split()[1] == b"200"


@pytest.mark.usefixtures("little_room")
def test_a_client_that_has_left_before_it_is_answered(
    hot: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end is met while its answer is begun: aiohttp gets no request of it."""
    big = target_of("sub dir/é.bin")
    for _ in range(10):
        with Client(hot, buffer=4096) as client:
            client.ask(big, "HEAD")
            at_once = struct.pack("ii", 1, 0)
            client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            client.send(request(big, "GET", "Range: bytes=1-\r\n"))
    hot.wait_for("client left")
    hot.get("/healthz")
    gc.collect()  # asyncio tells of a task's error when the task is gone
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.usefixtures("little_room")
def test_a_client_that_leaves_in_the_middle_leaves_nothing(hot: Live) -> None:
    big = target_of("sub dir/é.bin")
    for _ in range(3):
        with Client(hot, buffer=4096) as client:
            client.ask(big, "HEAD")
            client.send(request(big, "GET", "Range: bytes=1-\r\n"))
    assert hot.get(big).body == BIG


def test_what_has_changed_is_seen_by_the_next_request(
    own_mirror: Mirror, hot: Live
) -> None:
    target = target_of("config.json")
    with Client(hot) as client:
        for number in range(10):
            text = b"%d" % number
            own_mirror.publish("a/b", {"config.json": File(text)}, commit=str(number))
            for _ in range(3):
                got = client.ask(target)
                assert got.headers["x-repo-commit"] == oid(str(number))
                assert got.body == text
        row = own_mirror.library().repo(RepoType.MODEL, "a/b")
        assert row
        own_mirror.catalog.forget(row, None)
        assert client.ask(target).headers["x-error-code"] == "RepoNotFound"


@pytest.mark.parametrize("path", ["config.json", "mid.bin", "sub dir/é.bin"])
@pytest.mark.parametrize("damage", ["longer", "shorter", "gone"])
def test_a_damaged_blob_is_never_sent(
    own_mirror: Mirror, hot: Live, path: str, damage: str
) -> None:
    target, file = target_of(path), FILES[path]
    with Client(hot) as client:
        for method, more in (
            ("GET", ""),
            ("HEAD", ""),
            ("GET", "Range: bytes=1-3\r\n"),
        ):
            client.ask(target, method, more)
        (blob,) = [
            one
            for one in own_mirror.catalog.all_held()
            if one.size_bytes == len(file.data)
        ]
        place = own_mirror.blobs.path(blob.digest)
        place.chmod(0o600)
        if damage == "gone":
            place.unlink()
        else:
            place.write_bytes(
                file.data + b"x" if damage == "longer" else file.data[:-1]
            )
        for method, more in (
            ("GET", ""),
            ("HEAD", ""),
            ("GET", "Range: bytes=1-3\r\n"),
        ):
            reply = client.ask(target, method, more)
            assert reply.first.split()[1] == b"503"
            assert method == "HEAD" or "damaged" in json.loads(reply.body)["error"]


# Who has not said goodbye is not waited for, and asyncio tells of his transport.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("little_room")
def test_over_tls_the_end_waits_for_what_is_encrypted(own_mirror: Mirror) -> None:
    ssl = pytest.importorskip("ssl")
    from hubsync.serve.certificate import self_signed  # noqa: PLC0415 - an extra

    own_mirror.publish("a/b", {"some.json": File(BIG[:60_000])})
    cert, key = self_signed(own_mirror.folder / "tls", ["127.0.0.1"])
    context = ssl.create_default_context(cafile=str(cert))
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        plain = stack.enter_context(socket.socket())
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(WAIT_S)
        with serving(own_mirror, tls_cert=cert, tls_key=key, drain_s=WAIT_S) as live:
            plain.connect(live.address)
            secure = context.wrap_socket(plain, server_hostname="127.0.0.1")
            client = Client.__new__(Client)
            client._socket, client._rest = stack.enter_context(secure), b""
            client.send(request(target_of("some.json")))
            live.wait_for("request answered")

            def read_later() -> Reply:
                time.sleep(1.0)
                return client.read()

            reading = pool.submit(read_later)
        assert reading.result().body == BIG[:60_000]
    gc.collect()


def test_who_must_show_a_token_is_asked_each_time(
    own_mirror: Mirror, long_way: Answered
) -> None:
    own_mirror.publish("a/b", FILES)
    target = target_of("config.json")
    with serving(own_mirror, auth="tokens") as live, Client(live) as client:
        for _ in range(3):
            assert client.ask(target).first.split()[1] == b"401"
    assert long_way.targets == [target] * 3


def test_what_is_written_down_is_so_each_time(
    own_mirror: Mirror, long_way: Answered
) -> None:
    own_mirror.publish("a/b", FILES)
    target, log = target_of("config.json"), own_mirror.folder / "audit.jsonl"
    with serving(own_mirror, audit_log=log) as live, Client(live) as client:
        for _ in range(3):
            assert client.ask(target).body == b'{"a": 1}'
    assert len(log.read_text().splitlines()) == 3


@pytest.mark.parametrize("path", ["config.json", "sub dir/é.bin"])
def test_over_tls_nothing_leaves_in_plain(own_mirror: Mirror, path: str) -> None:
    """`sendfile` would write past the encryption."""
    ssl = pytest.importorskip("ssl")
    from hubsync.serve.certificate import self_signed  # noqa: PLC0415 - an extra

    own_mirror.publish("a/b", FILES)
    cert, key = self_signed(own_mirror.folder / "tls", ["127.0.0.1"])
    with serving(own_mirror, tls_cert=cert, tls_key=key) as live:
        context = ssl.create_default_context(cafile=str(cert))
        with (
            socket.create_connection(live.address, WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            client = Client.__new__(Client)
            client._socket, client._rest = secure, b""
            data = FILES[path].data
            for _ in range(3):
                assert client.ask(target_of(path)).body == data
                got = client.ask(target_of(path), "GET", "Range: bytes=2-\r\n")
                assert got.body == data[2:]
