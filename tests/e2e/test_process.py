"""The server as processes: workers that die, parents that die, ends in good order."""

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.process import MIB, WAIT_S, Server, is_alive, running, start
from tests.e2e.stand import Client, Store

BIG = random.Random(5).randbytes(24 * MIB)
TARGET = "/acme/m/resolve/main/big.bin"
TWO = ("--port", "0", "--workers", "2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    work = tmp_path_factory.mktemp("process")
    (work / "home").mkdir()
    (work / "model").mkdir()
    (work / "model" / "big.bin").write_bytes(BIG)
    (work / "model" / "config.json").write_text("{}")
    store = Store(work / "store", work / "home")
    store.json("add", work / "model", "acme/m")
    return store


def test_quiet_prints_where_it_is_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    server = start(store, tmp_path / "log", "--port", "0", "--quiet")
    assert server.process.stdout
    server.url = server.process.stdout.readline().rstrip("\n")
    assert server.get("/healthz")[0] == 200
    assert server.stop() == 0
    with server.process:
        assert server.process.stdout.read() == ""
    assert server.log.read_text() == ""


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)  # another process: nothing tells us


class Download:
    """One that is under way, and waits for us to read on."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(server.address, timeout=WAIT_S)
        port = self._socket.getsockname()[1]
        self._socket.sendall(f"GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._got = self._socket.recv(65536)
        self.worker = next(
            pid for pid in server.workers() or [server.pid] if has_port(pid, port)
        )

    def rest(self) -> bytes:
        """All of the body, once the server has closed or the client has enough."""
        head, _, body = self._got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        blocks = [body]
        left = len(BIG) - len(body)
        with self._socket:
            while left and (block := self._socket.recv(min(left, MIB))):
                blocks.append(block)
                left -= len(block)
        return b"".join(blocks)


def has_port(pid: int, port: int) -> bool:
    """Whether *pid* has the connection to the client's *port*."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(one.readlink()))
        except FileNotFoundError:
            continue
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == port:
            return f"socket:[{fields[9]}]" in found
    return False


def test_all_workers_answer_and_count_as_one(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path / "log", *TWO, "--access-log") as server:
        assert len(server.workers()) == 2
        for _ in range(40):
            assert server.get("/acme/m/resolve/main/config.json") == (200, b"{}")
        for _ in range(4):  # whichever answers
            text = server.get("/metrics")[1].decode()
            found = {
                sample.labels["status"]: sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "hubsync_http_requests_total"
                and sample.labels["route"] == "resolve"
            }
            assert found == {"200": 40}
        text = server.get("/metrics")[1].decode()
        names = {
            sample.labels["process"]
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "process_resident_memory_bytes"
        }
        assert names == {"0", "1", "parent"}
        assert server.get("/readyz")[0] == 200
        workers = server.workers()
        assert server.stop() == 0
        assert not any(is_alive(pid) for pid in workers)


def test_ready_is_said_once_and_the_port_is_the_one_that_was_asked_for(
    store: Store, tmp_path: Path
) -> None:
    with running(store, tmp_path / "log", *TWO) as server:
        assert server.process.stdout
        assert server.get("/healthz")[0] == 200
        second = start(store, tmp_path / "second", "--port", str(server.address[1]))
        status, said = second.ended()
        assert status == 9
        assert "something else listens on" in said
        both = ("--port", str(server.address[1]), "--workers", "2")
        second = start(store, tmp_path / "second", *both)
        assert second.ended()[0] == 9
        assert server.get("/healthz")[0] == 200
        assert server.stop(signal.SIGINT) == 0
        assert server.process.stdout.read() == ""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_clients_go_and_where_it_listens_are_two_things(
    store: Store, tmp_path: Path, workers: str
) -> None:
    """Behind a proxy: a script that asks the server itself needs the second."""
    proxied = {"HUBSYNC_SERVE__BASE_URL": "https://mirror.example/"}
    args = ("--port", "0", "--workers", workers)
    for more, url in (({}, None), (proxied, "https://mirror.example")):
        with running(replace(store, more=more), tmp_path / "log", *args) as server:
            listening = f"http://127.0.0.1:{server.address[1]}"
            assert server.said == {
                "url": url or listening,
                "listening": listening,
                "root": str(store.root),
            }
            assert server.get("/readyz")[0] == 200
            assert f"HF_ENDPOINT={url or listening}\n" in server.get("/")[1].decode()


def test_a_worker_that_is_killed_breaks_no_download_of_another(
    store: Store, tmp_path: Path
) -> None:
    with running(store, tmp_path / "log", *TWO) as server:
        before = server.workers()
        download = Download(server)
        victim = next(pid for pid in before if pid != download.worker)
        os.kill(victim, signal.SIGKILL)
        until(lambda: not is_alive(victim))
        assert download.rest() == BIG
        until(lambda: len(set(server.workers()) - {victim}) == 2)
        assert "worker died" in server.log.read_text()
        until(lambda: b"hubsync_worker_restarts_total 1.0" in server.get("/metrics")[1])
        assert server.stop() == 0


def test_sigterm_lets_a_download_end_and_takes_no_new_one(
    store: Store, tmp_path: Path
) -> None:
    with running(store, tmp_path / "log", *TWO) as server:
        download = Download(server)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(server))
        assert server.process.poll() is None
        assert download.rest() == BIG
        assert server.process.wait(WAIT_S) == 0


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(server.address, timeout=1).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_slow_reader_gets_its_whole_file(
    store: Store, tmp_path: Path, workers: str
) -> None:
    """It reads on only after everybody else has been turned away."""
    patient = replace(store, more={"HUBSYNC_SERVE__DRAIN": "10m"})
    args = ("--port", "0", "--workers", workers)
    with running(patient, tmp_path / "log", *args) as server:
        downloads = [Download(server) for _ in range(4)]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(server))
        for download in downloads:
            assert download.rest() == BIG
        assert server.process.wait(WAIT_S) == 0
    assert server.log.read_text().count("cut off") == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_who_reads_nothing_is_not_waited_for_longer(
    store: Store, tmp_path: Path, workers: str
) -> None:
    impatient = replace(store, more={"HUBSYNC_SERVE__DRAIN": "1s"})
    args = ("--port", "0", "--workers", workers)
    with running(impatient, tmp_path / "log", *args) as server:
        download = Download(server)
        started = time.monotonic()
        assert server.stop() == 0
        assert 1.0 <= time.monotonic() - started < 6.0
        assert len(download.rest()) < len(BIG)
    assert "answers cut off" in server.log.read_text()


def test_who_is_connected_hears_that_it_drains(store: Store, tmp_path: Path) -> None:
    """One more answer each, and the connection is closed: nobody new is let in."""
    with running(store, tmp_path / "log", "--port", "0") as server:
        probe, file = (
            http.client.HTTPConnection(*server.address, timeout=WAIT_S)
            for _ in range(2)
        )
        for connection in (probe, file):
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (200, None)
            answer.read()
        download = Download(server)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(server))
        probe.request("GET", "/readyz")
        answer = probe.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (503, "close")
        assert json.loads(answer.read())["reason"] == "draining"
        file.request("GET", "/acme/m/resolve/main/config.json")
        answer = file.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        assert answer.read() == b"{}"
        assert download.rest() == BIG
        assert server.process.wait(WAIT_S) == 0


def test_idle_connections_do_not_hold_up_the_end(store: Store, tmp_path: Path) -> None:
    patient = replace(store, more={"HUBSYNC_SERVE__DRAIN": "10m"})
    with running(patient, tmp_path / "log", "--port", "0") as server:
        silent = socket.create_connection(server.address, timeout=WAIT_S)
        begun = socket.create_connection(server.address, timeout=WAIT_S)
        begun.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        assert server.get("/healthz")[0] == 200
        with silent, begun:
            assert server.stop() == 0


def test_the_unix_socket_of_the_next_server_is_left_alone(
    store: Store, tmp_path: Path
) -> None:
    """It is bound, and does not listen yet, when the one before it has drained."""
    path = tmp_path / "s"
    patient = replace(store, more={"HUBSYNC_SERVE__DRAIN": "10m"})
    with (
        running(patient, tmp_path / "log", "--unix-socket", path) as server,
        socket.socket(socket.AF_UNIX) as client,
        socket.socket(socket.AF_UNIX) as following,
    ):
        client.settimeout(WAIT_S)
        client.connect(str(path))
        client.sendall(f"GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not path.exists())
        following.bind(str(path))
        while client.recv(MIB):
            pass
        assert server.process.wait(WAIT_S) == 0
        assert path.exists()


def test_ctrl_c_while_workers_start_is_the_parents_to_hear(
    store: Store, tmp_path: Path
) -> None:
    server = start(store, tmp_path / "log", *TWO)
    with server.process:
        until(server.workers)
        for pid in server.workers():
            os.kill(pid, signal.SIGINT)  # as the terminal sends it to everybody
        until(lambda: "serving" in server.log.read_text())
        assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.log.read_text()


def test_workers_end_when_their_parent_is_killed(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path / "log", *TWO) as server:
        workers = server.workers()
        download = Download(server)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait(WAIT_S)
        assert download.rest() == BIG  # drained as by SIGTERM
        until(lambda: not any(is_alive(pid) for pid in workers))
    port = str(server.address[1])
    with running(store, tmp_path / "log", "--port", port, "--workers", "2") as again:
        assert again.get("/healthz")[0] == 200
        assert again.stop() == 0


def test_a_worker_that_cannot_start_ends_the_server_with_its_error(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    broken = Store(tmp_path / "store", tmp_path)
    broken.json("add", store.root.parent / "model", "acme/m")
    for one in broken.root.glob("catalog.db*"):
        one.unlink()
    alone = start(broken, tmp_path / "alone", "--port", "0")
    many = start(broken, tmp_path / "many", *TWO)
    status, said = alone.ended()
    assert status == 2
    assert many.ended() == (status, said)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--tls-cert", "/nowhere.pem"), "cannot read /nowhere.pem"),
        (("--tls-key", "/nowhere.pem"), "serve.tls_cert is not"),
        (("--tls-self-signed", "--tls-cert", "/x"), "self-signed one asked for"),
        (("--workers", "0"), "0 is not in the range"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: Store, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    server = start(store, tmp_path / "log", "--port", "0", *args)
    status, text = server.ended()
    assert status == 2
    assert said in text


def test_https_with_a_certificate_made_here(
    store: Store, tmp_path: Path, client: Client
) -> None:
    secured = (*TWO, "--tls-self-signed")
    with running(store, tmp_path / "log", *secured) as server:
        cert = store.root / "tls" / "cert.pem"
        context = ssl.create_default_context(cafile=str(cert))
        # As Python is since 3.13.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with urllib.request.urlopen(server.url + TARGET, context=context) as answer:
            assert answer.read() == BIG
        settings = {"HF_ENDPOINT": server.url, "SSL_CERT_FILE": str(cert)}
        held = Client(client.home, settings).ask(
            "from huggingface_hub import snapshot_download\n"
            "answer = snapshot_download('acme/m')"
        )
        assert (Path(held) / "big.bin").read_bytes() == BIG
        before = cert.read_bytes()
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: server.log.read_text().count("certificate read again") == 2)
        assert server.stop() == 0
    with running(store, tmp_path / "log", *secured) as server:
        assert cert.read_bytes() == before
        assert server.stop() == 0


def test_what_one_worker_has_granted_all_servers_of_the_store_honour(
    store: Store, tmp_path: Path
) -> None:
    """An address that a Xet client was given leads to whichever worker accepts."""
    always = replace(store, more={"HUBSYNC_SERVE__XET": "always"})
    sha = hashlib.sha256(BIG).hexdigest()
    with running(always, tmp_path / "log", *TWO, "--access-log") as server:
        said = server.get("/api/models/acme/m/xet-read-token/main")[1]
        shown = {"Authorization": f"Bearer {json.loads(said)['accessToken']}"}
        for _ in range(20):
            status, body = server.get(f"/_xet/v2/reconstructions/{sha}", **shown)
            assert status == 200, body
            ((xorb,),) = json.loads(body)["xorbs"].values()
            address = xorb["url"].removeprefix(server.url)
            assert server.get(address, Range="bytes=0-9")[0] == 206
        assert server.stop() == 0
    with running(always, tmp_path / "log") as server:  # and whoever comes after them
        status, _ = server.get(f"/_xet/v2/reconstructions/{sha}", **shown)
        assert status == 200


def test_a_token_that_is_revoked_opens_no_worker_any_more(
    store: Store, tmp_path: Path
) -> None:
    asking = replace(store, more={"HUBSYNC_SERVE__AUTH": "tokens"})
    made = asking.json("token", "add", "ci")
    shown = {"Authorization": f"Bearer {made['token']}"}
    config = "/acme/m/resolve/main/config.json"
    with running(asking, tmp_path / "log", *TWO) as server:
        for _ in range(20):
            assert server.get(config, **shown)[0] == 200
            assert server.get(config)[0] == 401
            assert server.get("/metrics")[0] == 200
            assert server.get("/metrics", **{"X-Forwarded-For": "1.1.1.1"})[0] == 401
        asking.json("token", "revoke", "ci")
        for _ in range(20):
            assert server.get(config, **shown)[0] == 401
        assert server.stop() == 0


def test_a_unix_socket_for_several_workers(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "s"
    where = ("--unix-socket", path, "--workers", "2")
    with running(store, tmp_path / "log", *where) as server:
        assert server.url == server.said["url"] == f"unix:{path}"
        asked = ["curl", "-sf", "--unix-socket", str(path), f"http://x{TARGET}"]
        assert subprocess.run(asked, check=True, capture_output=True).stdout == BIG
        second = start(store, tmp_path / "second", "--unix-socket", path)
        assert second.ended()[0] == 9
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait(WAIT_S)
    until(lambda: not is_alive(server.pid))
    with running(store, tmp_path / "log", *where) as server:
        assert subprocess.run(asked, check=True, capture_output=True).stdout == BIG
        assert server.stop() == 0
    assert not path.exists()
