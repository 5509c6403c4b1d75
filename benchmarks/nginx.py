"""nginx over one folder, plain and with TLS, and as a cache in front of a hub."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import find, require
from benchmarks.measure import BenchmarkError

_CONFIG = """\
{user}
daemon off;
worker_processes {workers};
{affinity}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
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
{front}
}}
"""
# It asks once, and then gives the same answers, for as long as a benchmark takes.
_FRONT = """\
    proxy_cache_path {folder}/cache keys_zone=hub:8m use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {hub};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_cache hub;
            proxy_cache_key $request_method$request_uri$http_range;
            proxy_cache_convert_head off;
            proxy_cache_valid 200 206 302 307 1h;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
        }}
    }}
"""
START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Nginx:
    """Where it listens, and the certificate that it shows there."""

    plain: str
    tls: str
    certificate: Path
    front: str  # of a hub: the same answers, from memory
    pid: int


@contextmanager
def nginx(
    folder: Path, root: Path, *, hub: str = "", core: int | None = None
) -> Iterator[Nginx]:
    """Serve *root* meanwhile; *folder* is made for what nginx needs itself.

    *hub*: the address of one to be in front of.  *core*: the only one it gets.
    """
    require("nginx", "openssl")
    folder.mkdir()
    certificate = _certificate(folder)
    plain, tls, front = free_ports(3)
    # Its workers would be nobody, who may not read what we make.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            user=user,
            workers=1,
            affinity="" if core is None else f"worker_cpu_affinity {1 << core:b};",
            folder=folder,
            root=root,
            plain=plain,
            tls=tls,
            front=_FRONT.format(folder=folder, port=front, hub=hub) if hub else "",
        )
    )
    log = folder / "error.log"
    process = subprocess.Popen(
        [str(find("nginx")), "-e", str(log), "-p", str(folder), "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, plain, log)
        yield Nginx(
            f"http://127.0.0.1:{plain}",
            f"https://127.0.0.1:{tls}",
            certificate,
            f"http://127.0.0.1:{front}" if hub else "",
            process.pid,
        )
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _certificate(folder: Path) -> Path:
    certificate = folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace") if log.is_file() else ""
                raise BenchmarkError(f"nginx did not start\n{said[-1000:]}") from None
            time.sleep(0.02)
        else:
            return


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            found.append(int(one.getsockname()[1]))
        return found
