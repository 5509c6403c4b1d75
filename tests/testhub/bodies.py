"""Sending a file, whole or as a range, and with whatever fault is ordered."""

import asyncio
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from tests.testhub.content import Block, Reader, Virtual, size_of
from tests.testhub.faults import Fault
from tests.testhub.log import Seen
from tests.testhub.state import Pace

BLOCK = 256 * 1024
_SPLICE_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_NONE = Fault("status")
Source = bytes | Path | Virtual


async def send_file(
    request: web.BaseRequest,
    seen: Seen,
    source: Source,
    headers: Mapping[str, str],
    fault: Fault | None,
    pace: Pace,
) -> web.StreamResponse:
    """200 or 206 (or 416) with *source*; counts what was sent in *seen*."""
    fault = fault or _NONE
    size = size_of(source)
    start, stop, status = _range(request, size, fault)
    sent_headers = {**headers, "Accept-Ranges": "bytes"}
    if fault.kind == "etag_changes":
        sent_headers["ETag"] = fault.etag
    if status == 416:
        sent_headers["Content-Range"] = f"bytes */{size}"
        return web.Response(status=416, headers=sent_headers)
    if status == 206:
        sent_headers |= _content_range(start, stop, size, fault)
    if fault.kind == "gzip":
        sent_headers["Content-Encoding"] = "gzip"
    if fault.kind == "no_length":
        with Reader(source) as reader:
            body = bytes(reader.read(start, min(stop - start, fault.at)))
        return _close_delimited(request, seen, body, sent_headers, status)
    response = web.StreamResponse(status=status, headers=sent_headers)
    response.content_length = _announced(stop - start, fault)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    if fault is _NONE and pace.rate_bytes_per_s is None:
        await _splice(request, response, seen, source, (start, stop))
    else:
        await _bend(request, response, seen, source, (start, stop), fault, pace)
    return response


def _range(request: web.BaseRequest, size: int, fault: Fault) -> tuple[int, int, int]:
    if fault.kind == "unsatisfiable":
        return 0, 0, 416
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None or asked[0] == "bytes=-" or fault.kind == "ignore_range":
        return 0, size, 200
    first, last = asked.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    return (start, stop, 206) if start < size else (0, 0, 416)


def _content_range(start: int, stop: int, size: int, fault: Fault) -> dict[str, str]:
    honest = f"bytes {start}-{stop - 1}/{size}"
    if fault.kind != "wrong_range":
        return {"Content-Range": honest}
    if fault.variant == "missing":
        return {}
    shown = {
        "": f"bytes {start + 1}-{stop - 1}/{size}",
        "early": f"bytes {max(0, start - 1)}-{stop - 1}/{size}",
        "other_total": f"bytes {start}-{stop - 1}/{size + 1}",
        "other_end": f"bytes {start}-{stop}/{size}",
        "backwards": f"bytes {stop - 1}-{start}/{size}",
        "nonsense": "bytes a-b/c",
    }
    return {"Content-Range": shown[fault.variant]}


def _announced(length: int, fault: Fault) -> int:
    if fault.kind == "longer":
        return length + fault.at
    return max(0, length - fault.at) if fault.kind == "shorter" else length


async def _splice(
    request: web.BaseRequest,
    response: web.StreamResponse,
    seen: Seen,
    source: Source,
    span: tuple[int, int],
) -> None:
    """As fast as this machine can: by sendfile, without a copy in this process."""
    offset, stop = span
    loop, transport = asyncio.get_running_loop(), request.transport
    if isinstance(source, bytes) or transport is None or stop - offset <= BLOCK:
        with Reader(source) as reader:
            for at in range(offset, stop, BLOCK):
                block = reader.read(at, min(BLOCK, stop - at))
                seen.sent += len(block)
                await response.write(block)
        return
    virtual = source if isinstance(source, Virtual) else None
    file = _made(virtual) if virtual else open(source, "rb")  # type: ignore[arg-type]  # noqa: ASYNC230, PTH123, SIM115 - a test hub
    try:
        while offset < stop:
            length = min(_SPLICE_BYTES, stop - offset)
            at = virtual.place(offset) if virtual else offset
            # Counted before: a test may look as soon as the client has it.
            seen.sent += length
            try:
                await loop.sendfile(transport, file, at, length)
            except BaseException:
                seen.sent -= length
                raise
            offset += length
    finally:
        if virtual is None:
            file.close()
    await response.write_eof()


def _made(virtual: Virtual) -> BinaryIO:
    """The buffer that *virtual* repeats, as a file that is in memory only."""
    key = (virtual.kind, virtual.seed)
    if key not in _FILES:
        _FILES[key] = _file_of(virtual)
    return _FILES[key]


# Never let go of: another request may be sending from it, and there are few.
_FILES: dict[tuple[str, int], BinaryIO] = {}


def _file_of(virtual: Virtual) -> BinaryIO:
    file = os.fdopen(os.memfd_create("virtual"), "w+b", buffering=0)
    file.write(virtual.buffer)
    return file


async def _bend(
    request: web.BaseRequest,
    response: web.StreamResponse,
    seen: Seen,
    source: Source,
    span: tuple[int, int],
    fault: Fault,
    pace: Pace,
) -> None:
    begun, before = time.monotonic(), seen.sent
    with Reader(source) as reader:
        for block in _blocks(reader, span, fault):
            # Before it, not after: the client has then all, and so have we.
            if pause := _pause_s(seen.sent - before + len(block), fault, pace):
                await asyncio.sleep(begun + pause - time.monotonic())
            seen.sent += len(block)
            await response.write(block)
    if fault.kind == "truncate" and span[0] + fault.at < span[1]:
        _hang_up(request)
    elif fault.kind == "stall":
        await pace.released.wait()


def _blocks(reader: Reader, span: tuple[int, int], fault: Fault) -> Iterator[Block]:
    start, stop = span
    if fault.kind in ("truncate", "stall"):
        stop = min(stop, start + fault.at)
    elif fault.kind == "shorter":
        stop = max(start, stop - fault.at)
    moved = fault.at if fault.kind == "shifted" else 0
    offset = start
    while offset < stop:
        length = min(_slice_bytes(offset - start, fault), stop - offset)
        block = reader.read(max(0, offset - moved), length)
        if fault.kind == "flip" and offset <= fault.at < offset + len(block):
            changed = bytearray(block)
            changed[fault.at - offset] ^= 1
            block = bytes(changed)
        yield block
        offset += len(block)
    if fault.kind == "longer":
        for sent in range(0, fault.at, BLOCK):
            yield b"x" * min(BLOCK, fault.at - sent)


def _slice_bytes(sent: int, fault: Fault) -> int:
    if fault.kind == "slow":
        return max(1, fault.rate // 20)
    if fault.kind == "drip":
        return max(1, fault.at - sent)
    return BLOCK if fault.kind != "status" else BLOCK // 8  # paced


def _pause_s(sent: int, fault: Fault, pace: Pace) -> float:
    """When, counted from the start, so many bytes may be sent."""
    if fault.kind == "slow":
        return sent / fault.rate
    if fault.kind == "drip":
        return max(0, sent - fault.at) * fault.every_s
    return sent / pace.rate_bytes_per_s if pace.rate_bytes_per_s else 0.0


def _close_delimited(
    request: web.BaseRequest,
    seen: Seen,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
) -> web.StreamResponse:
    """Write it by hand: aiohttp would send chunks, whose missing end is visible."""
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    head = f"HTTP/1.1 {status} OK\r\nConnection: close\r\n{lines}\r\n"
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.write(head.encode() + body)
        seen.sent += len(body)
    _hang_up(request)
    return web.Response(status=status)


def _hang_up(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()
