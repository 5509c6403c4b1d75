"""Clients that do as little as possible beside the server they load."""

import asyncio
import re
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.measure import BenchmarkError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BLOCK_BYTES = 2**20
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second, and how much of a core the client itself needed."""

    per_second: float
    client_busy: float


def request_rate(url: str, method: str, *, connections: int, seconds: float) -> Rate:
    """Ask for *url* over and over on kept connections."""
    return asyncio.run(_request_rate(url, method, connections, seconds))


async def _request_rate(
    url: str, method: str, connections: int, seconds: float
) -> Rate:
    loop = asyncio.get_running_loop()
    host, port = _address(url)
    request = _request(url, method)
    until = loop.time() + seconds
    started, cpu = time.perf_counter(), time.process_time()
    asking = []
    for _ in range(connections):
        _, one = await loop.create_connection(
            lambda: _Asking(request, until, is_head=method == "HEAD"),
            host,
            port,
        )
        asking.append(one)
    async with asyncio.timeout(seconds + TIMEOUT_S):
        answers = sum(await asyncio.gather(*(one.done for one in asking)))
    spent = time.perf_counter() - started
    return Rate(answers / spent, (time.process_time() - cpu) / spent)


class _Asking(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, *, is_head: bool) -> None:
        self._request, self._until, self._is_head = request, until, is_head
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[int] = self._loop.create_future()
        self._answers, self._buffer = 0, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._buffer, 0, end)
        length = int(found[1]) if found and not self._is_head else 0
        if len(self._buffer) < end + 4 + length:
            return
        status = self._buffer[9:12]
        self._buffer = b""
        if status != b"200":
            self._end(BenchmarkError(f"the server answered {status.decode()}"))
            return
        self._answers += 1
        if self._loop.time() >= self._until:
            self._end(None)
        elif self._transport:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(BenchmarkError(f"the server hung up: {exc or 'end'}"))

    def _end(self, error: BenchmarkError | None) -> None:
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(self._answers)
        if self._transport:
            self._transport.close()


def parallel_ranges(url: str, size_bytes: int, parts: int) -> float:
    """Seconds to get *url* in *parts* ranges at once, thrown away."""
    bounds = [size_bytes * number // parts for number in range(parts + 1)]
    failures: list[Exception] = []

    def get(start: int, stop: int) -> None:
        try:
            _get_range(url, start, stop)
        except (OSError, BenchmarkError) as error:
            failures.append(error)

    threads = [
        threading.Thread(target=get, args=bounds[number : number + 2])
        for number in range(parts)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if failures:
        raise BenchmarkError(f"a ranged GET failed: {failures[0]}")
    return seconds


def _get_range(url: str, start: int, stop: int) -> None:
    block = bytearray(BLOCK_BYTES)
    with socket.create_connection(_address(url), TIMEOUT_S) as one:
        one.sendall(_request(url, "GET", f"Range: bytes={start}-{stop - 1}\r\n"))
        head = b""
        while b"\r\n\r\n" not in head:
            more = one.recv(4096)
            if not more:
                raise BenchmarkError("no answer")
            head += more
        if head[9:12] != b"206":
            raise BenchmarkError(f"answered {head[9:12].decode()} instead of 206")
        left = stop - start - (len(head) - head.index(b"\r\n\r\n") - 4)
        while left > 0:
            count = one.recv_into(block, min(left, BLOCK_BYTES))
            if not count:
                raise BenchmarkError(f"{left} bytes are missing")
            left -= count


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _request(url: str, method: str, more: str = "") -> bytes:
    parts = urlsplit(url)
    return (
        f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Accept-Encoding: identity\r\n{more}\r\n"
    ).encode()
