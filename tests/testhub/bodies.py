"""Sending a file, whole or as a range, and with whatever fault is ordered."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from tests.testhub.faults import Fault
from tests.testhub.log import Seen

BLOCK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def send_file(
    request: web.BaseRequest,
    seen: Seen,
    source: bytes | Path,
    headers: Mapping[str, str],
    fault: Fault | None,
    released: asyncio.Event,
) -> web.StreamResponse:
    """200 or 206 (or 416) with *source*; counts what was sent in *seen*."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size  # noqa: ASYNC240 - a test hub
    start, stop, status = _range(request, size, fault)
    if status == 416:
        return web.Response(
            status=416, headers={**headers, "Content-Range": f"bytes */{size}"}
        )
    sent_headers = {**headers, "Accept-Ranges": "bytes"}
    length = stop - start
    if status == 206:
        shift = 1 if fault and fault.kind == "wrong_range" else 0
        sent_headers["Content-Range"] = f"bytes {start + shift}-{stop - 1}/{size}"
    if fault and fault.kind == "longer":
        length += fault.at
    elif fault and fault.kind == "shorter":
        length = max(0, length - fault.at)
    if fault and fault.kind == "gzip":
        sent_headers["Content-Encoding"] = "gzip"
    if fault and fault.kind == "no_length":
        return _close_delimited(
            request, seen, _whole(source)[start:stop][: fault.at], sent_headers, status
        )
    response = web.StreamResponse(status=status, headers=sent_headers)
    response.content_length = length
    await response.prepare(request)
    if request.method != "HEAD":
        await _body(request, response, seen, source, (start, stop), fault, released)
    return response


def _range(
    request: web.BaseRequest, size: int, fault: Fault | None
) -> tuple[int, int, int]:
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    ignored = fault is not None and fault.kind == "ignore_range"
    if asked is None or asked[0] == "bytes=-" or ignored:
        return 0, size, 200
    first, last = asked.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    return (start, stop, 206) if start < size else (0, 0, 416)


async def _body(  # noqa: C901 - each fault is one line here
    request: web.BaseRequest,
    response: web.StreamResponse,
    seen: Seen,
    source: bytes | Path,
    span: tuple[int, int],
    fault: Fault | None,
    released: asyncio.Event,
) -> None:
    offset, stop = span
    kind = fault.kind if fault else ""
    at = fault.at if fault else 0
    start = offset
    file = None if isinstance(source, bytes) else source.open("rb")
    try:
        while offset < stop:
            block = _read(source, file, offset, min(BLOCK, stop - offset))
            if kind in ("truncate", "stall") and offset + len(block) > start + at:
                block = block[: start + at - offset]
            if kind == "flip" and offset <= at < offset + len(block):
                changed = bytearray(block)
                changed[at - offset] ^= 1
                block = bytes(changed)
            if kind == "shorter" and offset + len(block) > stop - at:
                block = block[: max(0, stop - at - offset)]
            if fault and kind == "slow":
                block = block[: max(1, fault.rate // 20)]
                await asyncio.sleep(0.05)
            if block:
                await response.write(block)
                seen.sent += len(block)
                offset += len(block)
            if kind == "shorter" and offset >= stop - at:
                return
            if kind == "truncate" and offset >= start + at:
                _hang_up(request)
                return
            if kind == "stall" and offset >= start + at:
                await released.wait()
                return
        if kind == "longer":
            await response.write(b"x" * at)
            seen.sent += at
    finally:
        if file is not None:
            file.close()


def _read(source: bytes | Path, file: object, offset: int, length: int) -> bytes:
    if isinstance(source, bytes):
        return source[offset : offset + length]
    file.seek(offset)  # type: ignore[attr-defined]
    data: bytes = file.read(length)  # type: ignore[attr-defined]
    return data


def _whole(source: bytes | Path) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


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
