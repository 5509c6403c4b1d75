"""``hubsync serve`` beside nginx, on the same files."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.content import LARGE, MIB, REPO, SMALL, Content
from benchmarks.load import parallel_ranges, request_rate
from benchmarks.measure import (
    BenchmarkError,
    Comparison,
    alternating,
    rounds,
    run,
)

NGINX = "nginx"
HUBSYNC = "hubsync"
PARTS = 16
CONNECTIONS = 16
LOAD_S = 1.0
START_TIMEOUT_S = 10.0
NOTE = """\
nginx (one worker a core) maps a path to a file; hubsync (one process) looks up
repo, revision and file in its catalog for each request."""

_CONFIG = """\
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root "{root}";
    }}
}}
"""


def compare(
    content: Content, work: Path, *, count: int, until: float
) -> tuple[list[Comparison], list[str]]:
    """All comparisons of serving, and what there is to say about them."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        return [], ["nginx is not installed: serving was not compared."]
    with (
        content.peer.serving() as ours,
        _nginx(program, work / "nginx", content.folder) as theirs,
    ):
        bases = {HUBSYNC: f"{ours}/{REPO}/resolve/main", NGINX: theirs}
        return _Serving(bases, content.large_bytes).compare(count, until)


class _Serving:
    def __init__(self, bases: dict[str, str], large_bytes: int) -> None:
        self._bases, self._large_bytes = bases, large_bytes
        self._has_curl = shutil.which("curl") is not None
        self._busy: dict[str, list[float]] = {HUBSYNC: [], NGINX: []}

    def compare(self, count: int, until: float) -> tuple[list[Comparison], list[str]]:
        size = f"{self._large_bytes // MIB} MiB"
        kinds = {
            "whole": Comparison(f"GET {size} whole, curl", NGINX, "MiB/s", "more"),
            "parts": Comparison(f"GET {size}, {PARTS} ranges", NGINX, "MiB/s", "more"),
            "HEAD": Comparison("HEAD", NGINX, "/s", "more"),
            "GET": Comparison("GET of 4 kB", NGINX, "/s", "more"),
        }
        notes = [NOTE]
        if not self._has_curl:
            del kinds["whole"]
            notes.append("curl is not installed: no whole GET.")
        for base in self._bases.values():
            self._measure("parts", base)  # warm-up
            self._measure("GET", base, 0.2)
        for number in rounds(count, until):
            for kind, found in kinds.items():
                taken = alternating(
                    number,
                    {
                        name: lambda kind=kind, name=name: self._one(kind, name)  # type: ignore[misc]
                        for name in self._bases
                    },
                )
                found.add(taken[HUBSYNC], taken[NGINX])
        busy = {name: statistics.median(found) for name, found in self._busy.items()}
        notes.append(
            "HEAD/s and GET/s: the client (Python, one core) was busy"
            f" {busy[HUBSYNC]:.0%} with hubsync, {busy[NGINX]:.0%} with nginx;\n"
            "near 100% the client is the limit, and the server can do more."
        )
        return list(kinds.values()), notes

    def _one(self, kind: str, name: str) -> float:
        value, busy = self._measure(kind, self._bases[name], LOAD_S)
        if busy is not None:
            self._busy[name].append(busy)
        return value

    def _measure(
        self, kind: str, base: str, seconds: float = LOAD_S
    ) -> tuple[float, float | None]:
        """A value, and for requests how busy the client was."""
        if kind == "whole":
            spent = run(["curl", "-sfo", "/dev/null", f"{base}/{LARGE}"]).seconds
            return self._large_bytes / MIB / spent, None
        if kind == "parts":
            spent = parallel_ranges(f"{base}/{LARGE}", self._large_bytes, PARTS)
            return self._large_bytes / MIB / spent, None
        rate = request_rate(
            f"{base}/{SMALL}", kind, connections=CONNECTIONS, seconds=seconds
        )
        return rate.per_second, rate.client_busy


@contextlib.contextmanager
def _nginx(program: str, folder: Path, root: Path) -> Iterator[str]:
    """Serve *root* meanwhile; the server's address."""
    folder.mkdir()
    port = _free_port()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(user=user, folder=folder, port=port, root=root))
    server = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server, folder / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(START_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_for(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    text = log.read_text(errors="replace")[-1000:] if log.is_file() else ""
    raise BenchmarkError(f"nginx did not start\n{text}")
