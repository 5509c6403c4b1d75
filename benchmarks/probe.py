"""``python -m benchmarks.probe URL SECONDS``: how long one client waits for answers.

One request after the other on one connection; prints the milliseconds of each as
JSON.  A process of its own: the clients that make the load must not delay it.
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

PAUSE_S = 0.002  # between two: it is to watch the server, not to load it


def main(url: str, seconds: float) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    taken = []
    with socket.create_connection((parts.hostname, parts.port), 60) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            one.sendall(request)
            _read_answer(one)
            taken.append(1000 * (time.perf_counter() - began))
            time.sleep(PAUSE_S)
    print(json.dumps(taken))


def _read_answer(one: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        more = one.recv(65536)
        if not more:
            raise SystemExit("the server hung up")
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    if head[9:12] != b"200":
        raise SystemExit(f"answered {head[9:12].decode()}")
    (line,) = (
        line
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    left = int(line.partition(b":")[2]) - len(body)
    while left > 0:
        left -= len(one.recv(65536))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
