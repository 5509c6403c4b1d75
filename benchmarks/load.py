"""Clients that do as little as possible beside the server they load."""

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.commands import Runner, find
from benchmarks.measure import BenchmarkError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WRK = re.compile(r"Requests/sec: +([0-9.]+)")
_AB = re.compile(r"Requests per second: +([0-9.]+)")
_AB_FAILED = re.compile(r"Failed requests: +0\n")
_NOWHERE = bytearray(2**24)  # nothing is ever written to it
ByteRange = tuple[int, int]  # first byte, and the one after the last
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


def fast_rate(
    url: str, method: str, runner: Runner, *, connections: int, seconds: float
) -> float:
    """Requests a second, by the fastest client there is for them."""
    whole_s = max(1, round(seconds))
    # wrk waits for the body of a HEAD, ab does not.
    if method == "GET" and find("wrk"):
        asked = [f"-c{connections}", "-t1", f"-d{whole_s}", url]
        said = runner.run(["wrk", *asked]).said
        if "Non-2xx" in said or "Socket errors" in said:
            raise BenchmarkError(f"wrk got errors from {url}:\n{said}")
        return float(_WRK.findall(said)[0])
    if find("ab"):
        kind = ["-i"] if method == "HEAD" else []
        asked = [*kind, "-k", f"-c{connections}", f"-t{whole_s}", "-n100000000", url]
        said = runner.run(["ab", "-q", *asked]).said
        if "Non-2xx" in said or not _AB_FAILED.search(said):
            raise BenchmarkError(f"ab got errors from {url}:\n{said}")
        return float(_AB.findall(said)[0])
    return request_rate(
        url, method, connections=connections, seconds=seconds
    ).per_second


def drain(
    url: str, asked: Sequence[Sequence[ByteRange | None]], *, nice: int = 0
) -> float:
    """Seconds until each connection has had its ranges of *url*, thrown away.

    None: all of it.  *nice*: whoever else runs on the clients' core goes first.
    The kernel throws the bytes away: what a client does with them is no business of
    the server, and would be most of the work.
    """
    failures: list[Exception] = []

    def get(ranges: Sequence[ByteRange | None]) -> None:
        try:
            if nice:  # of this thread alone, on Linux
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
            with socket.create_connection(_address(url), TIMEOUT_S) as one:
                for part in ranges:
                    _drain_one(one, url, part)
        except (OSError, BenchmarkError) as error:
            failures.append(error)

    threads = [threading.Thread(target=get, args=(ranges,)) for ranges in asked]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if failures:
        raise BenchmarkError(f"a GET failed: {failures[0]}")
    return seconds


def slices(size_bytes: int, parts: int) -> list[list[ByteRange | None]]:
    """As many ranges, for a connection each."""
    bounds = [size_bytes * number // parts for number in range(parts + 1)]
    return [[(bounds[number], bounds[number + 1])] for number in range(parts)]


def pieces(
    size_bytes: int, piece: int, connections: int
) -> list[list[ByteRange | None]]:
    """Ranges of *piece* bytes, dealt out to the connections in turn."""
    starts = range(0, size_bytes, piece)
    all_of_it = [(start, min(start + piece, size_bytes)) for start in starts]
    return [[*all_of_it[number::connections]] for number in range(connections)]


def _drain_one(one: socket.socket, url: str, part: ByteRange | None) -> None:
    more = f"Range: bytes={part[0]}-{part[1] - 1}\r\n" if part else ""
    one.sendall(_request(url, "GET", more))
    head = b""
    while b"\r\n\r\n" not in head:
        got = one.recv(4096)
        if not got:
            raise BenchmarkError("no answer")
        head += got
    if head[9:12] != (b"206" if part else b"200"):
        raise BenchmarkError(f"answered {head[9:12].decode()}")
    found = _LENGTH.search(head)
    assert found
    left = int(found[1]) - (len(head) - head.index(b"\r\n\r\n") - 4)
    if part and int(found[1]) != part[1] - part[0]:
        raise BenchmarkError(f"{found[1].decode()} bytes instead of {part}")
    while left > 0:
        count = one.recv_into(_NOWHERE, min(left, len(_NOWHERE)), socket.MSG_TRUNC)
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
