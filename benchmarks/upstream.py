"""The upstream of the pull benchmark: the test hub in front, nginx as its CDN.

All who pull ask the same hub and get the same bytes from the same nginx, so a
ratio says something of them and nothing of the upstream.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from benchmarks.measure import BenchmarkError
from tests.testhub import HubRepo, Lfs, TestHub
from tests.testhub.lfs import xet_hash_of

_CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    sendfile_max_chunk 2m;
    keepalive_requests 100000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    root "{root}";
    server {{ listen 127.0.0.1:{plain}; }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
    }}
}}
"""
START_TIMEOUT_S = 10.0


class Upstream:
    """Repos with LFS files, over three CDNs: plain, TLS, and slow."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.root = work / "cdn"
        self.certificate = work / "nginx" / "cert.pem"
        self.plain = self.tls = self.slow = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True)
        self.hub = self._stack.enter_context(TestHub(self.work / "hub"))
        plain, tls = self._stack.enter_context(_nginx(self.work / "nginx", self.root))
        self.plain, self.tls = f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}"
        self.hub.cdn_endpoint = self.plain
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_slow(self, rate_bytes_per_s: float, delay_s: float) -> None:
        """Start the CDN of which each connection gives no more than so much."""
        command = [sys.executable, "-m", "benchmarks.slow_cdn"]
        command += [str(self.root), str(rate_bytes_per_s), str(delay_s)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        assert process.stdout
        self.slow = f"http://127.0.0.1:{process.stdout.readline().strip()}"

    def publish(
        self, name: str, files: dict[str, Path], text: dict[str, bytes]
    ) -> HubRepo:
        """A repo whose *files* are in LFS and whose *text* is not."""
        repo = self.hub.create_repo(name)
        repo.commit({**{path: Lfs(file) for path, file in files.items()}, **text})
        folder = self.root / "xet-bridge-us" / repo.hub_id
        folder.mkdir(parents=True)
        commit = repo.resolve("main")
        assert commit
        for path in files:
            entry = repo.listing(commit).file(path)
            assert entry
            assert entry.lfs
            stored = self.hub.world.lfs.path(entry.lfs.sha256)
            os.link(stored, folder / xet_hash_of(entry.lfs.sha256))
        return repo

    def url(self, repo: str, path: str) -> str:
        return f"{self.hub.endpoint}/{repo}/resolve/main/{path}"


@contextmanager
def _nginx(folder: Path, root: Path) -> Iterator[tuple[int, int]]:
    if shutil.which("nginx") is None:
        raise BenchmarkError("nginx is not installed (Debian: nginx-light)")
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    plain, tls = _free_port(), _free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = _CONFIG.format(user=user, folder=folder, root=root, plain=plain, tls=tls)
    (folder / "nginx.conf").write_text(config)
    process = subprocess.Popen(
        ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    )
    try:
        _wait_for(process, plain, folder)
        yield plain, tls
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (folder / "error.log").read_text()[-2000:]
                raise BenchmarkError(f"nginx did not start: {said}") from None
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
