"""Several processes that fetch what they are asked for, over one store."""

import concurrent.futures
import hashlib
import http.client
import os
import signal
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.process import children, command_line
from tests.testhub import Fault, Lfs, TestHub
from tests.upstream.faulting import QuickMirror
from tests.upstream.test_on_demand import RESOLVE, WAIT_S, Server, serving

WEIGHTS = os.urandom(9_500_000)
CLIENTS = 24


def test_whichever_worker_is_asked_it_is_fetched_once_and_right(
    hub: TestHub, tmp_path: Path
) -> None:
    mirror = QuickMirror(tmp_path / "mirror", hub.endpoint, {})
    files = {f"{number}.json": b"%d" % number for number in range(8)}
    hub.create_repo("acme/tiny").commit({**files, "w.bin": Lfs(WEIGHTS)})
    together = threading.Barrier(CLIENTS)

    def ask(server: Server) -> list[bytes]:
        together.wait(WAIT_S)
        return [server.get(f"{RESOLVE}/{path}").body for path in (*files, "w.bin")]

    with (
        serving(mirror, workers="2") as server,
        concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool,
    ):
        found = list(pool.map(ask, [server] * CLIENTS))
        said = server.log.read_text()
    assert all(one == [*files.values(), WEIGHTS] for one in found)
    assert "Traceback" not in said, said
    assert hub.lfs_bytes_sent == len(WEIGHTS)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert mirror.blobs()[digest].read_bytes() == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0


def test_a_worker_that_is_killed_takes_no_fetch_along(
    hub: TestHub, tmp_path: Path
) -> None:
    settings = {"HUBSYNC_TRANSFER__READ_TIMEOUT": "5s"}
    mirror = QuickMirror(tmp_path / "mirror", hub.endpoint, settings)
    hub.create_repo("acme/tiny").commit({"w.bin": Lfs(WEIGHTS)})
    hub.faults.add(Fault("stall", role="cdn", at=3_000_000, times=1))
    with serving(mirror, workers="2") as server:
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.request("GET", f"{RESOLVE}/w.bin")
        assert connection.getresponse().read(1_000_000) == WEIGHTS[:1_000_000]
        workers = [
            one for one in children(server.pid) if b"spawn_main" in command_line(one)
        ]
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        connection.close()
        got = _when_there_is_a_worker(server)
    assert got == WEIGHTS
    # What came before the stall was not fetched again.
    assert hub.lfs_bytes_sent < len(WEIGHTS) + 1_000_000
    assert mirror.json("verify", "--all")["damaged"] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_being_fetched_at_the_end_is_sent_whole(
    hub: TestHub, tmp_path: Path, workers: str
) -> None:
    """SIGTERM comes while the upstream pauses: who waits for the file gets it."""
    settings = {"HUBSYNC_TRANSFER__READ_TIMEOUT": "2s"}
    mirror = QuickMirror(tmp_path / "mirror", hub.endpoint, settings)
    hub.create_repo("acme/tiny").commit({"w.bin": Lfs(WEIGHTS)})
    hub.faults.add(Fault("stall", role="cdn", at=3_000_000, times=1))
    with serving(mirror, workers=workers, drain="1m") as server:
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=WAIT_S
        )
        connection.request("GET", f"{RESOLVE}/w.bin")
        answer = connection.getresponse()
        got = answer.read(1_000_000)
        os.kill(server.pid, signal.SIGTERM)
        got += answer.read()
        connection.close()
    assert got == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0


def _when_there_is_a_worker(server: Server) -> bytes:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return server.get(f"{RESOLVE}/w.bin").body
        except ConnectionError:  # they are started again after half a second
            assert time.monotonic() < deadline
