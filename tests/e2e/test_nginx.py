"""A real nginx in front, set up as docs/operations.md says."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from tests.e2e.process import MIB, WAIT_S, Server, running
from tests.e2e.stand import ROOT, Store
from tests.e2e.test_http import Answer, Plain

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
BIG = bytes(range(256)) * 4096 * 3
TARGET = "/acme/m/resolve/main/big.bin"
WHOLE_CONFIG = """\
{user}daemon off;
pid {work}/pid;
error_log {work}/error.log;
events {{}}
http {{
    access_log {work}/access.log;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
{server}
}}
"""


def documented(work: Path, port: int, store: Store) -> str:
    """The example of the documentation, with our places in it."""
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    (server,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    for theirs, ours in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/run/hubsync/http.sock", f"{work}/s"),
        ("/srv/hubsync/", f"{store.root}/"),
    ):
        assert server.count(theirs) == 1, theirs
        server = server.replace(theirs, ours)
    # As root it would give up its rights, and could not read the test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return WHOLE_CONFIG.format(user=user, work=work, server=server)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """hubsync on a unix socket, and the address of the nginx in front of it."""
    if NGINX is None:
        pytest.skip("there is no nginx here")
    work = tmp_path_factory.mktemp("nginx")
    model = work / "model"
    model.mkdir()
    (model / "big.bin").write_bytes(BIG)
    (model / "empty.bin").touch()
    (model / "config.json").write_text("{}")
    store = Store(work / "store", work)
    store.json("add", model, "acme/m")
    store.json("add", model, "acme/other")
    config = work / "hubsync.toml"
    config.write_text('[serve]\naccel = "x-accel-redirect"\n')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (work / "nginx.conf").write_text(documented(work, port, store))
    options = ("--unix-socket", work / "s", "--config", config, "--access-log")
    command = [NGINX, "-c", work / "nginx.conf", "-p", work]
    with (
        running(store, work / "log", *options) as server,
        subprocess.Popen(
            [str(part) for part in command], stderr=subprocess.PIPE
        ) as nginx,
    ):
        try:
            wait_for(port, nginx)
            yield server, f"http://127.0.0.1:{port}"
        finally:
            nginx.terminate()


def wait_for(port: int, nginx: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if nginx.poll() is not None:
            assert nginx.stderr
            pytest.fail(nginx.stderr.read().decode())
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # another process: nothing tells us
        else:
            return
    pytest.fail("nginx does not listen")


@pytest.fixture
def plain(front: tuple[Server, str]) -> Iterator[Plain]:
    client = Plain(front[1])
    yield client
    client.close()


def headers_of(answer: Answer) -> dict[str, str | None]:
    names = (
        *("etag", "x-repo-commit", "x-linked-size", "x-linked-etag", "content-type"),
        *("content-disposition", "content-security-policy", "x-content-type-options"),
        *("access-control-allow-origin", "access-control-expose-headers"),
        *("accept-ranges", "last-modified"),
    )
    return {name: answer.headers.get(name) for name in names}


def test_the_whole_file_with_all_headers(plain: Plain) -> None:
    head, answer = plain.ask("HEAD", TARGET), plain.ask("GET", TARGET)
    assert (answer.status, answer.body) == (200, BIG)
    assert headers_of(answer) == headers_of(head)
    assert head.headers["content-length"] == str(len(BIG))
    assert answer.headers["etag"] == f'"{Digest.of(BIG).hex}"'
    assert answer.headers["x-request-id"]
    assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-999999", 0, 1_000_000),
        (f"bytes={MIB}-", MIB, None),
        ("bytes=-600000", -600_000, None),
        ("bytes=7-8", 7, 9),
    ],
)
def test_ranges_large_and_small(
    plain: Plain, wanted: str, start: int, stop: int | None
) -> None:
    answer = plain.ask("GET", TARGET, Range=wanted)
    first, last, _ = slice(start, stop).indices(len(BIG))
    assert (answer.status, answer.body) == (206, BIG[start:stop])
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(BIG)}"
    assert answer.headers["etag"] == f'"{Digest.of(BIG).hex}"'


def test_several_ranges_give_the_whole_as_without_nginx(plain: Plain) -> None:
    answer = plain.ask("GET", TARGET, Range="bytes=0-999999,1000002-2000000")
    assert (answer.status, answer.body) == (200, BIG)


def test_conditions(plain: Plain) -> None:
    etag = plain.ask("HEAD", TARGET).headers["etag"]
    for method in ("GET", "HEAD"):
        known = plain.ask(method, TARGET, If_None_Match=etag)
        assert (known.status, known.body) == (304, b"")
        assert known.headers["etag"] == etag
    wanted = "bytes=0-999999"
    assert plain.ask("GET", TARGET, If_None_Match='"other"').body == BIG
    assert plain.ask("GET", TARGET, Range=wanted, If_Range=etag).status == 206
    assert plain.ask("GET", TARGET, Range=wanted, If_Range='"old"').body == BIG
    since = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert plain.ask("GET", TARGET, If_Modified_Since=since).body == BIG
    beyond = plain.ask("GET", TARGET, Range=f"bytes={len(BIG)}-")
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{len(BIG)}"


def test_small_and_empty_files(plain: Plain) -> None:
    assert plain.ask("GET", "/acme/m/resolve/main/config.json").body == b"{}"
    empty = plain.ask("GET", "/acme/m/resolve/main/empty.bin")
    assert (empty.status, empty.body) == (200, b"")
    assert empty.headers["content-length"] == "0"
    assert plain.ask("GET", "/acme/m/resolve/main/nothing").status == 404


def test_nobody_reaches_the_blobs_by_name(plain: Plain) -> None:
    name = Digest.of(BIG).hex
    for path in (
        f"/_blobs/sha256/{name[:2]}/{name[2:4]}/{name}",
        "/_blobs/",
        "/_blobs/../catalog.db",
        "/_blobs%2F..%2Fcatalog.db",
    ):
        assert plain.ask("GET", path).status in (400, 404)


def test_paths_go_through_undecoded_and_links_come_back_right(
    front: tuple[Server, str], plain: Plain
) -> None:
    url = front[1]
    answer = plain.ask("GET", "/api/models?limit=1")
    assert answer.headers["link"].startswith(f"<{url}/api/models?")
    pull = plain.ask("GET", "/api/models/acme/m/revision/refs%2Fheads%2Fmain")
    assert pull.status == 200


def test_the_log_has_the_client_and_nginxs_request_id(
    front: tuple[Server, str], plain: Plain
) -> None:
    answer = plain.ask("GET", "/healthz", X_Forwarded_For="6.6.6.6", X_Request_Id="x")
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    text = front[0].log.read_text()
    line = next(one for one in text.splitlines() if request_id in one)
    assert 'client="127.0.0.1"' in line
