"""A server that fetches what it is asked for: clients get it, once, and right."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.pulling import Mirror
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.upstream.faulting import QuickMirror

WEIGHTS = os.urandom(9_500_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
CONFIG = b'{"model_type": "tiny"}'
WAIT_S = 60.0
ON_DEMAND = {"HUBSYNC_SERVE__ON_MISSING": "on_demand"}


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        return self.headers.get("x-error-code")


@dataclass(frozen=True)
class Server:
    """One `hubsync serve` of its own."""

    url: str
    log: Path
    pid: int

    def get(self, target: str, method: str = "GET", **headers: str) -> Got:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=WAIT_S
        )
        try:
            connection.request(
                method,
                target,
                headers={k.replace("_", "-"): v for k, v in headers.items()},
            )
            got = connection.getresponse()
            names = {key.lower(): value for key, value in got.getheaders()}
            return Got(got.status, names, got.read())
        finally:
            connection.close()


@contextlib.contextmanager
def serving(mirror: Mirror, **settings: str) -> Iterator[Server]:
    """`hubsync serve --port 0` with *settings* of [serve], until the block ends."""
    given = {f"HUBSYNC_SERVE__{key.upper()}": text for key, text in settings.items()}
    log = mirror.root.parent / "serve.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "hubsync", "serve", "--port", "0", "--json"],
            env=mirror.environment(**{**ON_DEMAND, **given}),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Server(json.loads(line)["url"], log, process.pid)
        process.terminate()
        assert process.wait(WAIT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(WAIT_S)
        process.stdout.close()


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub, request: pytest.FixtureRequest) -> Mirror:
    settings = {
        "HUBSYNC_TRANSFER__READ_TIMEOUT": "5s",
        "HUBSYNC_SERVE__WORKERS": str(getattr(request, "param", 1)),
        # What fails is given up before clients are told to come back later.
        "HUBSYNC_TRANSFER__RETRIES": "2",
    }
    return QuickMirror(tmp_path / "mirror", hub.endpoint, settings)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"config.json": CONFIG, "w.bin": Lfs(WEIGHTS), "empty": b""})
    return repo


RESOLVE = "/acme/tiny/resolve/main"
# Where several processes serve, another one fetches.
alone_or_not = pytest.mark.parametrize("mirror", [1, 3], indirect=True)


def bodies(hub: TestHub) -> int:
    """How often the CDN has begun to send the weights."""
    return len([one for one in hub.requests if one.role == "cdn" and one.sent])


@alone_or_not
def test_a_repo_nobody_pulled_is_fetched_and_kept(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        info = json.loads(server.get("/api/models/acme/tiny").body)
        assert {one["rfilename"] for one in info["siblings"]} == {
            "config.json",
            "w.bin",
            "empty",
        }
        assert server.get(f"{RESOLVE}/config.json").body == CONFIG
        assert server.get(f"{RESOLVE}/w.bin").body == WEIGHTS
        assert server.get(f"{RESOLVE}/empty").body == b""
        hub.stop()
        again = server.get(f"{RESOLVE}/w.bin")
        assert again.body == WEIGHTS
        assert again.headers["etag"] == f'"{SHA256}"'
    assert mirror.blobs()[SHA256].read_bytes() == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_head_is_answered_from_the_tree_before_any_byte_is_here(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        got = server.get(f"{RESOLVE}/w.bin", "HEAD")
        assert got.status == 200
        assert got.headers["x-linked-size"] == str(len(WEIGHTS))
        assert got.headers["content-length"] == str(len(WEIGHTS))
        assert got.headers["x-linked-etag"] == f'"{SHA256}"'
        assert len(got.headers["x-repo-commit"]) == 40
    assert not hub.requests or bodies(hub) == 0


@alone_or_not
def test_an_empty_file_is_kept_though_clients_only_ask_for_its_size(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        got = server.get(f"{RESOLVE}/empty", "HEAD")
        assert (got.status, got.headers["content-length"]) == (200, "0")
        commit = got.headers["x-repo-commit"]
        shown = mirror.root / "hub/models--acme--tiny/snapshots" / commit / "empty"
        deadline = time.monotonic() + WAIT_S
        while not shown.exists():
            assert time.monotonic() < deadline
            server.get("/healthz")
        hub.stop()
        assert server.get(f"{RESOLVE}/empty", "HEAD").status == 200
    assert list(mirror.blobs()) == [hashlib.sha256(b"").hexdigest()]
    with serving(mirror, on_missing="refuse") as server:
        assert server.get(f"{RESOLVE}/empty").status == 200


def test_an_empty_file_is_told_of_while_the_upstream_is_down(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        assert server.get(f"{RESOLVE}/config.json").status == 200
        hub.stop()
        for method in ("HEAD", "GET", "HEAD"):
            got = server.get(f"{RESOLVE}/empty", method)
            assert (got.status, got.body) == (200, b"")


@alone_or_not
def test_many_who_ask_at_once_cost_one_body(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    clients = 200
    together = threading.Barrier(clients)

    def ask(server: Server) -> bytes:
        together.wait(WAIT_S)
        return server.get(f"{RESOLVE}/w.bin").body

    with (
        serving(mirror) as server,
        concurrent.futures.ThreadPoolExecutor(clients) as pool,
    ):
        found = list(pool.map(ask, [server] * clients))
    assert all(one == WEIGHTS for one in found)
    assert hub.lfs_bytes_sent <= len(WEIGHTS)


@alone_or_not
def test_the_beginning_leaves_before_the_end_has_come(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.faults.add(Fault("stall", role="cdn", at=3_000_000, times=1))
    with serving(mirror, on_missing="on_demand") as server:
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.request("GET", f"{RESOLVE}/w.bin")
        got = connection.getresponse()
        # More than these never comes over that connection of the CDN.
        assert got.read(1_000_000) == WEIGHTS[:1_000_000]
        assert got.read() == WEIGHTS[1_000_000:]
        connection.close()


@pytest.mark.parametrize("size", [9_500_000, 2_000, 64 * 1024])
@alone_or_not
def test_s25_wrong_bytes_of_the_upstream_never_arrive_whole(
    hub: TestHub, mirror: Mirror, size: int
) -> None:
    data = os.urandom(size)
    hub.create_repo("acme/tiny").commit({"w.bin": Lfs(data)})
    hub.faults.add(Fault("flip", role="cdn", at=1_000, times=-1))
    with serving(mirror) as server:
        for headers in ({}, {"Range": "bytes=500-1500"}, {"Range": "bytes=900-"}):
            try:
                got = server.get(f"{RESOLVE}/w.bin", **headers)
            except (http.client.IncompleteRead, ConnectionError):
                continue
            assert got.status in (502, 503), got
        hub.faults.clear()
        while True:  # one that began before may still be under way, and is cut off
            with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
                got = server.get(f"{RESOLVE}/w.bin")
                if got.status == 200:
                    break
        assert got.body == data


@alone_or_not
def test_a_range_of_what_is_not_held_is_right(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        middle = server.get(f"{RESOLVE}/w.bin", Range="bytes=4000000-4000999")
        assert (middle.status, middle.body) == (206, WEIGHTS[4_000_000:4_001_000])
        first = server.get(f"{RESOLVE}/w.bin", Range="bytes=0-0")
        assert (first.status, first.body) == (206, WEIGHTS[:1])


def test_the_end_of_what_is_not_held_is_right(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        got = server.get(f"{RESOLVE}/w.bin", Range="bytes=9000000-")
        assert (got.status, got.body) == (206, WEIGHTS[9_000_000:])
        past = server.get(f"{RESOLVE}/w.bin", Range="bytes=9500000-")
        assert past.status == 416


@alone_or_not
def test_what_the_upstream_does_not_have_is_not_found(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.create_repo("acme/gated", gated=True).commit({"a": b"a"})
    with serving(mirror) as server:
        assert server.get("/acme/gated/resolve/main/a").code == "GatedRepo"
        assert server.get("/api/models/acme/none").code == "RepoNotFound"
        asked = len(hub.requests)
        assert server.get("/api/models/acme/none").code == "RepoNotFound"
        assert len(hub.requests) == asked, "a no is believed for a while"
        assert (
            server.get("/api/models/acme/tiny/revision/v9").code == "RevisionNotFound"
        )
        none = server.get(f"{RESOLVE}/none.bin")
        assert none.code == "EntryNotFound"
        assert none.headers["x-repo-commit"]


@alone_or_not
def test_s15_only_what_is_allowed_is_asked_for(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.create_repo("other/tiny").commit({"a": b"a"})
    hub.create_repo("acme/data", "dataset").commit({"a": b"a"})
    hub.create_repo("acme/secret-1").commit({"a": b"a"})
    config = mirror.root.parent / "hubsync.toml"
    config.write_text(
        '[serve]\nallow = ["acme/*", "datasets/acme/*"]\ndeny = ["acme/secret*"]\n'
    )
    mirror.settings = {**mirror.settings, "HUBSYNC_CONFIG": str(config)}
    with serving(mirror) as server:
        assert server.get("/api/models/acme/tiny").status == 200
        assert server.get("/api/datasets/acme/data").status == 200
        seen = len(hub.requests)
        for name in ("models/other/tiny", "models/acme/secret-1", "datasets/other/x"):
            assert server.get(f"/api/{name}").code == "RepoNotFound"
        assert len(hub.requests) == seen


def test_s15_a_client_names_no_upstream(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    """Whatever it writes where: no other host is asked for anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener, serving(mirror) as server:
        listener.settimeout(0.2)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        away = f"http://{host}"
        for target in (
            f"/{host}/acme/none/resolve/main/a",
            f"/{quote(away, safe='')}/acme/resolve/main/a",
            f"/api/models/{host}/acme/none",
            f"/api/models/{quote(host + '/acme', safe='')}/none",
            f"/api/models/acme/none?endpoint={away}&upstream={away}&url={away}",
            f"/acme/none/resolve/main/a?endpoint={away}",
            f"/acme/none/resolve/{quote(away, safe='')}/a",
            f"{away}/acme/none/resolve/main/a",
            f"/v2/{host}/acme/manifests/latest",
            f"/parquet?dataset={host}/acme",
            f"/api/resolve-cache/models/{host}/{'0' * 40}/a",
        ):
            for more in (
                {},
                {"X_Endpoint": away, "HF_ENDPOINT": away, "X_Forwarded_Host": host},
                {"Host": host, "Forwarded": f"host={host}", "Origin": away},
            ):
                assert server.get(target, **more).status in (400, 404), target
        with pytest.raises(TimeoutError):
            listener.accept()
        assert {one.headers["Host"] for one in hub.requests} <= {
            urlsplit(one).netloc for one in (hub.endpoint, hub.cdn_endpoint)
        }
        assert hub.requests


def test_a_revision_nobody_pulled_is_fetched(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    mirror.pull("acme/tiny")
    commit = repo.commit({"config.json": b"{}"}, branch="dev")
    with serving(mirror) as server:
        got = server.get("/acme/tiny/resolve/dev/config.json")
        assert (got.body, got.headers["x-repo-commit"]) == (b"{}", commit)


@alone_or_not
def test_a_moved_branch_is_seen_when_all_that_was_held_is_held_again(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    first = mirror.pull("acme/tiny").commit.oid
    new = os.urandom(5_000_000)
    second = repo.commit({"w.bin": Lfs(new)})
    with serving(mirror, refresh_after="0s") as server:
        # What is held is answered at once, and looked after meanwhile.
        assert server.get(f"{RESOLVE}/config.json").headers["x-repo-commit"] in (
            first,
            second,
        )
        while server.get(f"{RESOLVE}/config.json").headers["x-repo-commit"] != second:
            pass
        hub.stop()
        assert server.get(f"{RESOLVE}/w.bin").body == new


def test_with_the_upstream_gone_what_is_held_is_served(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    mirror.pull("acme/tiny", include=("config.json",))
    hub.stop()
    with serving(mirror, refresh_after="0s") as server:
        for _ in range(3):
            assert server.get(f"{RESOLVE}/config.json").body == CONFIG
        got = server.get(f"{RESOLVE}/w.bin")
        assert got.status == 503
        assert "Retry-After".lower() in got.headers
        assert server.get("/api/models/acme/other").status == 503


@pytest.mark.parametrize("policy", ["on_demand", "streamed"])
def test_an_upstream_that_fails_is_left_alone_for_a_while(
    hub: TestHub, repo: HubRepo, mirror: Mirror, policy: str
) -> None:
    with serving(mirror, on_missing=policy) as server:
        assert server.get("/api/models/acme/tiny").status == 200
        hub.faults.add(Fault("status", match="/resolve/", status=503, times=-1))
        assert server.get(f"{RESOLVE}/w.bin").status == 503
        asked = len(hub.requests)
        assert server.get(f"{RESOLVE}/w.bin").status == 503
        assert len(hub.requests) == asked


def test_a_damaged_blob_is_fetched_again(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    mirror.pull("acme/tiny")
    path = mirror.blobs()[SHA256]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(1000)
    with serving(mirror) as server:
        got = server.get(f"{RESOLVE}/w.bin")
        assert got.status == 503
        while (got := server.get(f"{RESOLVE}/w.bin")).status == 503:
            pass
        assert got.body == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_without_an_upstream_a_damaged_blob_waits_for_its_repair(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    mirror.pull("acme/tiny")
    mirror.blobs()[SHA256].unlink()
    with serving(mirror, on_missing="refuse") as server:
        assert server.get(f"{RESOLVE}/w.bin").status == 503
        assert server.get(f"{RESOLVE}/w.bin").status == 503
        assert server.get(f"{RESOLVE}/config.json").body == CONFIG
    assert mirror.json("verify", "--all", "--repair")["repaired"] == 1
    with serving(mirror, on_missing="refuse") as server:
        assert server.get(f"{RESOLVE}/w.bin").body == WEIGHTS


def test_what_came_on_demand_is_in_the_folder_view_too(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror) as server:
        assert server.get(f"{RESOLVE}/config.json").body == CONFIG
        commit = server.get(f"{RESOLVE}/config.json").headers["x-repo-commit"]
        shown = mirror.root / "hub/models--acme--tiny/snapshots" / commit
        while not (shown / "config.json").exists():
            server.get("/healthz")
    assert (shown / "config.json").read_bytes() == CONFIG
    assert not (shown / "w.bin").exists()


@alone_or_not
def test_what_is_streamed_is_not_kept(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    with serving(mirror, on_missing="streamed") as server:
        for _ in range(2):
            assert server.get(f"{RESOLVE}/w.bin").body == WEIGHTS
        got = server.get(f"{RESOLVE}/w.bin", Range="bytes=5000-5999")
        assert (got.status, got.body) == (206, WEIGHTS[5000:6000])
        assert server.get(f"{RESOLVE}/config.json").body == CONFIG
        assert server.get(f"{RESOLVE}/empty").body == b""
        assert server.get(f"{RESOLVE}/none").code == "EntryNotFound"
    assert mirror.blobs() == {}
    assert bodies(hub) == 3


def test_what_is_streamed_goes_on_where_it_broke(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.faults.add(Fault("truncate", role="cdn", at=4_000_000))
    with serving(mirror, on_missing="streamed") as server:
        assert server.get(f"{RESOLVE}/w.bin").body == WEIGHTS
        hub.faults.add(Fault("ignore_range", role="cdn"))
        got = server.get(f"{RESOLVE}/w.bin", Range="bytes=5000-5999")
        assert got.body == WEIGHTS[5000:6000]
    assert hub.lfs_bytes_sent < 2 * len(WEIGHTS) + len(WEIGHTS)


def test_s25_wrong_bytes_are_not_streamed_to_their_end(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.faults.add(Fault("flip", role="cdn", at=1_000, times=-1))
    with (
        serving(mirror, on_missing="streamed") as server,
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        server.get(f"{RESOLVE}/w.bin")


def test_a_store_that_cannot_be_written_fetches_nothing(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere")
    mirror.pull("acme/tiny")
    mirror.root.chmod(0o555)
    done = mirror.run("serve", env={"HUBSYNC_SERVE__ON_MISSING": "on_demand"})
    assert done.returncode == 2


@alone_or_not
def test_the_real_client_sees_no_difference(
    hub: TestHub, repo: HubRepo, mirror: Mirror, tmp_path: Path
) -> None:
    program = """
from huggingface_hub import HfApi, HfFileSystem, snapshot_download
folder = snapshot_download("acme/tiny")
print(HfFileSystem().read_bytes("acme/tiny/w.bin", start=100, end=110).hex())
print(HfApi().repo_exists("acme/none"))
print(folder)
"""
    with serving(mirror) as server:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=mirror.environment(
                HF_ENDPOINT=server.url,
                HF_HOME=str(tmp_path / "client"),
                HF_HUB_DISABLE_XET="0",
            ),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    part, exists, folder = done.stdout.splitlines()
    assert (part, exists) == (WEIGHTS[100:110].hex(), "False")
    assert (Path(folder) / "w.bin").read_bytes() == WEIGHTS
    assert (Path(folder) / "config.json").read_bytes() == CONFIG


@contextlib.contextmanager
def hub_of_its_own(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The hub in *folder* as a process that can be frozen and killed."""
    port = folder.parent / "port"
    command = [sys.executable, "-m", "tests.testhub", "--dir", folder]
    process = subprocess.Popen([*map(str, command), "--port-file", str(port)])
    try:
        while not port.exists():
            assert process.poll() is None
        yield port.read_text(), process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(WAIT_S)


@pytest.mark.parametrize("trouble", ["frozen", "killed", "limiting"])
def test_no_request_for_what_is_held_fails_with_the_upstream_in_trouble(
    tmp_path: Path, trouble: str
) -> None:
    with TestHub(tmp_path / "hub") as before:
        before.create_repo("acme/tiny").commit(
            {"config.json": CONFIG, "w.bin": Lfs(WEIGHTS)}
        )
    with hub_of_its_own(tmp_path / "hub") as (endpoint, upstream):
        mirror = QuickMirror(tmp_path / "mirror", endpoint)
        mirror.pull("acme/tiny")
        with contextlib.ExitStack() as stack:
            if trouble == "frozen":
                upstream.send_signal(signal.SIGSTOP)
            else:
                upstream.kill()
                upstream.wait(WAIT_S)
            if trouble == "limiting":
                stack.enter_context(answering_429(urlsplit(endpoint).port or 0))
            found = ask_for_what_is_held(mirror)
        assert {one.status for one in found} == {200}
        assert all(one.body == WEIGHTS for one in found[2::3])


def ask_for_what_is_held(mirror: Mirror) -> list[Got]:
    """300 answers, 8 at a time, every one of which looks for news upstream."""
    targets = [
        "/api/models/acme/tiny/revision/main",
        f"{RESOLVE}/config.json",
        f"{RESOLVE}/w.bin",
    ] * 100
    with (
        serving(mirror, refresh_after="0s") as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        return list(pool.map(server.get, targets))


@contextlib.contextmanager
def answering_429(port: int) -> Iterator[None]:
    """A hub that answers nothing but 429, as the Hub does at the limit."""

    class Limiting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(429)
            self.send_header("RateLimit", '"api";r=0;t=55')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Limiting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(WAIT_S)
        server.server_close()
