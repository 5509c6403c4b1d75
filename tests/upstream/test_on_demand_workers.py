"""Several processes that fetch what they are asked for, over one store."""

import concurrent.futures
import hashlib
import os
import threading
from pathlib import Path

from tests.testhub import Lfs, TestHub
from tests.upstream.faulting import QuickMirror
from tests.upstream.test_on_demand import RESOLVE, WAIT_S, Server, serving

WEIGHTS = os.urandom(9_500_000)
CLIENTS = 24


def test_whichever_worker_is_asked_the_bytes_are_right(
    hub: TestHub, tmp_path: Path
) -> None:
    """How often they are fetched is another question."""
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
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert mirror.blobs()[digest].read_bytes() == WEIGHTS
    assert mirror.json("verify", "--all")["damaged"] == 0
