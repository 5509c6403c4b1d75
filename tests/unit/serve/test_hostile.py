"""Requests that no honest client sends, and clients that behave badly."""

import json
import socket
import time
from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from hubsync.ports.blobs import BlobStore
from hubsync.serve.events import Event
from hubsync.serve.routing import raw_path_of
from tests.unit.serve.mirror import WAIT_S, File, Live, Mirror, serving

MIB = 2**20


def talk(live: Live, request: bytes) -> bytes:
    """Everything the server says until it closes."""
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def raw(live: Live, target: bytes, *headers: bytes) -> tuple[int, bytes]:
    """Status and whole answer to a request line that no library would send."""
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    answer = talk(live, b"\r\n".join([*lines, *headers, b"", b""]))
    return int(answer.split(b" ", 2)[1]), answer


TRAVERSALS = [
    b"/acme/tiny-bert/resolve/main/../../../../etc/passwd",
    b"/acme/tiny-bert/resolve/main/%2e%2e/%2e%2e/etc/passwd",
    b"/acme/tiny-bert/resolve/main/..%2F..%2F..%2Fetc%2Fpasswd",
    b"/acme/tiny-bert/resolve/main/%252e%252e%252fetc%252fpasswd",
    b"/acme/tiny-bert/resolve/main/..%5c..%5cetc%5cpasswd",
    b"/acme/tiny-bert/resolve/main/%2Fetc%2Fpasswd",
    b"/acme/tiny-bert/resolve/main//etc/passwd",
    b"/acme/tiny-bert/resolve/main/sub%20dir/../config.json",
    b"/acme/tiny-bert/resolve/main/./config.json",
    b"/acme/tiny-bert/resolve/main/config.json%00.txt",
    b"/acme/tiny-bert/resolve/main/config.json/",
    b"/acme/tiny-bert/resolve/main/CONFIG.JSON",
    b"/acme/tiny-bert/resolve/main/config.json;x",
    b"/acme/tiny-bert/resolve/..%2F..%2Fmain/config.json",
    b"/acme/tiny-bert/resolve/%2e%2e/config.json",
    b"/acme/tiny-bert/resolve/main%00/config.json",
    b"/acme/tiny-bert/raw/main/..%2F..%2Fcatalog.db",
    b"/acme/tiny-bert/resolve/main/\xff\xfe",
    b"/acme/tiny-bert/resolve/main/%FF%FE",
    b"/acme/tiny-bert/resolve/main/%ED%A0%80",
    b"/acme/tiny-bert/resolve/main/%",
    b"/acme/tiny-bert/resolve/main/%zz",
    b"/..%2Facme/tiny-bert/resolve/main/config.json",
    b"/acme/..%2Ftiny-bert/resolve/main/config.json",
    b"/acme%2Ftiny-bert%2F..%2F..%2Fx/resolve/main/config.json",
    b"/%2e%2e/%2e%2e/resolve/main/config.json",
    b"/api/models/..%2F../tree/main",
    b"/api/models/acme/tiny-bert/tree/main/..%2F..",
    b"/api/models/acme/tiny-bert/tree/main/%00",
    b"/api/models/\xc3\xa9/\xff/tree/main",
    b"/api/models/acme/tiny-bert/tree/\xff",
    b"/v2/acme/tiny-bert/blobs/sha256:..%2F..%2F..%2Fetc%2Fpasswd",
    b"/v2/acme/tiny-bert/blobs/../../../../etc/passwd",
    b"/v2/..%2F../manifests/latest",
    b"/v2/acme/tiny-bert/manifests/..%2F..%2Fcatalog.db",
    b"/api/resolve-cache/models/acme/tiny-bert/" + b"0" * 40 + b"/..%2F..%2Fx",
    b"/api/resolve-cache/models/acme/../../etc/passwd",
    b"/api/datasets/acme/tiny-csv/parquet/..%2F..%2Fetc/passwd/0.parquet",
    b"/splits?dataset=..%2F..%2Fetc%2Fpasswd",
    b"/catalog.db",
    b"/%2e%2e/catalog.db",
    b"/api/models/%00",
    b"*",
    b"//",
    b"/" + b"a/" * 3000,
    b"/acme/tiny-bert/resolve/main/" + b"%2e%2e%2f" * 700,
]


class Opened:
    """The `BlobStore` of a mirror, remembering what was opened."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.digests: list[Digest] = []

    def open(self, digest: Digest) -> object:
        self.digests.append(digest)
        return self._inner.open(digest)

    def read(self, digest: Digest, size_bytes: int) -> bytes | None:
        self.digests.append(digest)
        return self._inner.read(digest, size_bytes)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_s4_no_path_leads_out(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: each is an error, and no file was opened on the way."""
    opened = Opened(mirror.blobs)
    monkeypatch.setattr(mirror, "blobs", opened)
    with serving(mirror) as live:
        for target in TRAVERSALS:
            status, answer = raw(live, target)
            assert status in (400, 404), (target, answer)
            assert b"root:" not in answer
        assert opened.digests == []
        assert raw(live, b"/acme/tiny-bert/resolve/main/config.json")[0] == 200
        assert len(opened.digests) == 1
        assert not any(one.exc_info for one in live.log)


def test_a_target_with_a_host_in_it(live: Live) -> None:
    """As a client writes it that takes us for a proxy."""
    target = b"http://x/acme/tiny-bert/resolve/main/config.json?a=b"
    assert raw(live, target)[0] == 200
    assert raw_path_of("https://x/a%2Fb?c") == "/a%2Fb"
    assert raw(live, b"HTTP://x" + target[8:])[0] == 200
    assert raw_path_of("http://x") == raw_path_of("http://x?y/z") == "/"


def test_a_target_that_nobody_encoded() -> None:
    """aiohttp's fast parser refuses it, its other one does not."""
    assert raw_path_of("/a/\u00e9%20[x]|~") == "/a/%C3%A9%20[x]|~"
    assert raw_path_of("/a/\udcff") == "/a/%FF"


HOSTS = [
    b"a/?x=",
    b"evil.example/acme/x",
    b"evil.example\tx",
    b"x@evil.example",
    b'"><script>',
    b"evil example",
    b"a" * 5000,
]


@pytest.mark.parametrize("host", HOSTS)
def test_s28_a_hostile_host_changes_nothing(live: Live, host: bytes) -> None:
    """S28: routes come from the path, links from a checked host."""
    target = b"/api/models/acme/tiny-bert/tree/main?limit=1"
    request = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
    answer = talk(live, request % (target, host))
    if answer.startswith(b"HTTP/1.1 400"):
        return
    assert answer.startswith(b"HTTP/1.1 200")
    link = next(one for one in answer.split(b"\r\n") if one.startswith(b"Link:"))
    assert link.startswith(b"Link: <http://127.0.0.1:")
    assert host not in answer


def test_s25_forwarded_headers_are_nobodys_word(live: Live) -> None:
    """S25: one client cannot put a link into what others may get cached."""
    answer = live.get(
        "/api/models/acme/tiny-bert/tree/main?limit=1",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Proto="https",
        Forwarded="host=evil.example",
        X_Original_URL="/api/models",
    )
    assert b"evil" not in answer.body
    assert answer.headers["link"].startswith(f"<{live.url}/")


def test_base_url_is_what_links_say(mirror: Mirror) -> None:
    with serving(mirror, base_url="https://mirror.example/") as live:
        link = live.get("/api/models?limit=1").headers["link"]
        assert link.startswith("<https://mirror.example/api/models?")
        assert b"HF_ENDPOINT=https://mirror.example\n" in live.get("/").body


def test_s30_ten_thousand_ranges_cost_no_more_than_one(live: Live) -> None:
    """S30: one range is honoured, and the header is capped."""
    target = b"/acme/handmade/resolve/main/model.bin"
    started = time.monotonic()
    for count in (2, 500, 10_000):
        header = b"Range: bytes=" + b",".join([b"0-1"] * count)
        status, answer = raw(live, target, header)
        assert status in (200, 400)
        assert status == 400 or len(answer) > 10_000_000
    for number in (b"9" * 21, b"9" * 5000):  # past the end, however far
        status, answer = raw(live, target, b"Range: bytes=" + number + b"-")
        assert (status, b"Content-Range: bytes */10040000" in answer) == (416, True)
    nearly = b"Range: bytes=" + b" " * 8000 + b"x"
    assert raw(live, target, nearly)[0] in (200, 400)
    assert time.monotonic() - started < 10


NO_REQUESTS = [
    (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n0\r\n\r\nGET /smuggled"
    ),
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("number", range(len(NO_REQUESTS)))
def test_s32_a_request_that_is_none_is_refused(live: Live, number: int) -> None:
    """S32: what two servers could read in two ways is read in none."""
    answer = talk(live, NO_REQUESTS[number])
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert not any(one.exc_info for one in live.log)
    assert b"Traceback" not in answer
    assert answer.count(b"HTTP/1.") == 1


def test_s10_nothing_a_client_sends_starts_a_header_or_a_log_line(live: Live) -> None:
    """S10."""
    for target in (
        b"/api/models/acme/tiny-bert/revision/x%0d%0aSet-Cookie:%20a=b",
        b"/acme/tiny-bert/resolve/main/a%0d%0aSet-Cookie:%20a=b",
        b"/acme/tiny-bert/resolve/x%0aSet-Cookie:%20a=b/f",
        b"/api/models/acme/tiny-bert/tree/main/a%0a%1b[31m",
        b"/acme/x%0d%0aSet-Cookie:%20a=b/resolve/main/f",
        b"/api/models?sort=a%0d%0aSet-Cookie:%20a=b",
        b"/api/models?limit=1&a=%0d%0aSet-Cookie:%20a=b",
    ):
        _, answer = raw(live, target)
        head = answer.partition(b"\r\n\r\n")[0]
        assert b"\nset-cookie" not in head.lower()
        head.decode("ascii")
    for record in live.log:
        line = record.getMessage()
        assert line.isprintable() or record.exc_info
    event = Event("request answered", target="/a\r\nrequest answered", odd="\udcff\x1b")
    assert str(event).isprintable()
    assert str(event).isascii()
    fields = dict(part.split("=", 1) for part in str(event).split()[4:])
    assert json.loads(fields["odd"]) == "\udcff\x1b"


def test_an_unexpected_error_says_nothing_of_the_inside(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret inside")

    with serving(own_mirror) as live:
        monkeypatch.setattr(own_mirror.catalog, "find_by_name", broken)
        answer = live.get("/api/models/a/b")
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert answer.headers["x-request-id"] in answer.json()["error"]
        assert any(one.exc_info for one in live.log)


# Clients that behave badly


@pytest.fixture
def big(own_mirror: Mirror) -> Mirror:
    """32 MiB: more than the kernel buffers for a client that reads nothing."""
    own_mirror.publish("a/b", {"big.bin": File(bytes(32 * MIB), lfs=True)})
    return own_mirror


REQUEST = b"GET /a/b/resolve/main/big.bin HTTP/1.1\r\nHost: x\r\n\r\n"


def test_s31_a_client_that_stops_reading_is_dropped(big: Mirror) -> None:
    with (
        serving(big, stall_s=0.2) as live,
        socket.create_connection(live.address, timeout=WAIT_S) as connection,
    ):
        connection.sendall(REQUEST)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        live.wait_for("client left")
        rest = iter(lambda: connection.recv(MIB), b"")
        assert sum(len(block) for block in rest) < 32 * MIB
        assert live.get("/healthz").status == 200


def test_s31_stalled_clients_do_not_keep_others_waiting(big: Mirror) -> None:
    with serving(big, threads=2, stall_s=60.0, drain_s=0.2) as live:
        stalled = [socket.create_connection(live.address) for _ in range(20)]
        try:
            for connection in stalled:
                connection.sendall(REQUEST)
            for connection in stalled:
                assert connection.recv(4) == b"HTTP"
            assert live.get("/a/b/resolve/main/big.bin").body == bytes(32 * MIB)
            assert live.get("/healthz").status == 200
        finally:
            for connection in stalled:
                connection.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_s31_clients_that_leave_cost_no_file_numbers(big: Mirror) -> None:
    with serving(big) as live:
        live.get("/healthz")
        before = open_files()
        for _ in range(30):
            with socket.create_connection(live.address, timeout=WAIT_S) as connection:
                connection.sendall(REQUEST)
                connection.recv(1)
        deadline = time.monotonic() + WAIT_S
        while open_files() > before + 5 and time.monotonic() < deadline:
            live.get("/healthz")
        assert open_files() <= before + 5


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
     b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"],
)  # fmt: skip
def test_s31_a_client_that_sends_no_whole_request_is_dropped(
    own_mirror: Mirror, start: bytes
) -> None:
    """S31: also before the first request, and between two."""
    with (
        serving(own_mirror, idle_s=0.2) as live,
        socket.create_connection(live.address, timeout=WAIT_S) as connection,
    ):
        connection.sendall(start)
        while connection.recv(65536):
            pass  # ends when the server closes; the timeout bounds it


def test_s31_a_body_that_does_not_come_is_not_waited_for(mirror: Mirror) -> None:
    with serving(mirror, stall_s=0.2) as live:
        request = (
            b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: x\r\n"
            b"Connection: close\r\nContent-Length: 100\r\n\r\npaths="
        )
        assert talk(live, request).startswith(b"HTTP/1.1 408")


def test_a_file_that_shrinks_while_it_is_sent_is_not_made_up(big: Mirror) -> None:
    """The connection breaks: no error page is taken for the file's last bytes."""
    path = big.blobs.path(Digest.of(bytes(32 * MIB)))
    with serving(big) as live:
        with socket.create_connection(live.address, timeout=WAIT_S) as connection:
            connection.sendall(REQUEST)
            got = connection.recv(4096)
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.truncate(MIB)
            try:
                while block := connection.recv(MIB):
                    got += block
            except ConnectionResetError:
                pass
        body = got.partition(b"\r\n\r\n")[2]
        assert len(body) < 32 * MIB
        assert body.count(0) == len(body)
        live.wait_for("recorded blob cannot be read")
        assert live.get("/healthz").status == 200
