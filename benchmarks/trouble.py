"""Readers of what is held, while the upstream is well, gone, frozen or limiting."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.command import Plan
from benchmarks.commands import clean_environment, hubsync
from benchmarks.measure import BenchmarkError, Figure, Section, percentile, rounds
from benchmarks.server import serving
from benchmarks.stand import start_probe, waited
from tests.testhub import Lfs, TestHub

REPO = "bench/held"
TROUBLES = ("well", "killed", "frozen", "answering 429")


def measure_trouble(plan: Plan) -> Section:
    """Answers to who reads what is held, of a mirror that would fetch the rest."""
    with TestHub(plan.work / "hub") as hub:
        hub.create_repo(REPO).commit(
            {"config.json": b"{}", "w": Lfs(os.urandom(2**20))}
        )
    p99 = {what: Figure(f"upstream {what}: 99 % of answers", "ms") for what in TROUBLES}
    count = Figure("answers, all of them right", "")
    for _ in rounds(plan.rounds, plan.seconds_max):
        seen = 0
        for what in TROUBLES:
            with _hub(plan.work / "hub") as (endpoint, process):
                store = plan.work / f"store-{time.monotonic_ns()}"
                settings = {
                    "HF_ENDPOINT": endpoint,
                    "HUBSYNC_SERVE__ON_MISSING": "on_demand",
                    "HUBSYNC_SERVE__REFRESH_AFTER": "1s",
                }
                subprocess.run(
                    hubsync("pull", REPO, "--root", str(store), "--quiet"),
                    env=clean_environment(settings),
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
                with (
                    serving(store, **settings) as server,
                    _in_trouble(what, process, endpoint),
                ):
                    url = f"{server.url}/{REPO}/resolve/main/config.json"
                    taken = waited(start_probe(url, 1.0 if plan.is_quick else 6.0))
                    seen += len(taken)
                    p99[what].values.append(percentile(taken, 0.99))
        count.values.append(seen)
    return Section(
        "readers of what is held, with serve.on_missing = on_demand",
        figures=[*p99.values(), count],
        notes=["A ref that was looked at a second ago is looked at again meanwhile."],
    )


@contextmanager
def _hub(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The upstream as a process of its own."""
    port = folder.with_name("port")
    port.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.testhub", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--port-file", str(port)])
    try:
        while not port.exists():
            if process.poll() is not None:
                raise BenchmarkError("the upstream did not start")
            time.sleep(0.01)
        yield port.read_text(), process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


class _Limiting(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(429)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _in_trouble(
    what: str, process: "subprocess.Popen[bytes]", endpoint: str
) -> Iterator[None]:
    if what == "frozen":
        process.send_signal(signal.SIGSTOP)
    elif what != "well":
        process.kill()
        process.wait()
    if what != "answering 429":
        yield
        return
    address = ("127.0.0.1", urlsplit(endpoint).port or 0)
    with http.server.ThreadingHTTPServer(address, _Limiting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
