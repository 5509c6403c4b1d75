"""Sending a blob: conditions, ranges, and bytes by ``sendfile``.

Large bodies leave in bursts from a small thread pool.  `loop.sendfile` would
send a whole range in one system call as long as the client keeps up, and wait
for a cold disk inside it: everybody else would wait along.
"""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from hubsync.model.snapshot import HeldEntry
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobNotFoundError, BlobStore
from hubsync.serve.errors import damaged
from hubsync.serve.options import ServeOptions
from hubsync.wire.ranges import (
    ByteRange,
    RangeAnswer,
    content_range,
    matches_any,
    parse_range,
    range_applies,
)

INLINE_BYTES_MAX = 256 * 1024
_TEXT_SUFFIXES = (
    *(".json", ".md", ".txt", ".py", ".yaml", ".yml", ".jinja", ".csv", ".jsonl"),
    *(".gitattributes", ".gitignore", ".html", ".js", ".css"),
)


class FileSender:
    """Sends blobs of one store; owns the threads that do it."""

    def __init__(self, blobs: BlobStore, options: ServeOptions) -> None:
        self._blobs, self._options = blobs, options
        self._pool = ThreadPoolExecutor(options.threads, "sendfile")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def send(
        self,
        request: web.Request,
        one: HeldEntry,
        etag: str,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Answer *request* with the blob of *one*, whose digest is not None.

        Raises:
            Problem: the blob is not there, or not as long as recorded.
        """
        assert one.digest
        size = one.entry.size_bytes
        try:
            file = self._blobs.open(one.digest)
        except BlobNotFoundError:
            raise damaged(one.entry.path) from None
        with file:
            if os.fstat(file.fileno()).st_size != size:
                raise damaged(one.entry.path)
            common = {**file_headers(one.entry.path), **headers, "ETag": f'"{etag}"'}
            if matches_any(request.headers.get("If-None-Match"), etag):
                return web.Response(status=304, headers=common)
            return await self._send(request, file, size, etag, common)

    async def _send(
        self,
        request: web.Request,
        file: BinaryIO,
        size: int,
        etag: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        wanted = request.headers.get("Range")
        answer: ByteRange | RangeAnswer = RangeAnswer.WHOLE
        if range_applies(request.headers.get("If-Range"), etag):
            answer = parse_range(wanted, size)
        if answer is RangeAnswer.UNSATISFIABLE:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={**headers, "Content-Range": content_range(None, size)}
            )
        status, part = 200, ByteRange(0, size)
        if isinstance(answer, ByteRange):
            status, part = 206, answer
            headers["Content-Range"] = content_range(part, size)
        elif wanted and size == 0:
            # The JavaScript client reads the size from here, also of nothing.
            headers["Content-Range"] = content_range(None, 0)
        if part.size_bytes <= INLINE_BYTES_MAX and request.method != "HEAD":
            body = os.pread(file.fileno(), part.size_bytes, part.start)
            if len(body) != part.size_bytes:
                raise damaged("the file")
            return web.Response(status=status, headers=headers, body=body)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = part.size_bytes
        await response.prepare(request)
        if request.method != "HEAD":
            await self._body(request, response, file, part)
        return response

    async def _body(
        self,
        request: web.Request,
        response: web.StreamResponse,
        file: BinaryIO,
        part: ByteRange,
    ) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        if transport.get_extra_info("sslcontext") is not None:
            # sendfile would write plain text into the TLS stream
            await self._copy(response, file, part)
        else:
            await self._sendfile(transport, file, part)

    async def _copy(
        self, response: web.StreamResponse, file: BinaryIO, part: ByteRange
    ) -> None:
        loop = asyncio.get_running_loop()
        offset = part.start
        while offset < part.stop:
            length = min(MIB, part.stop - offset)
            block = await loop.run_in_executor(
                self._pool, os.pread, file.fileno(), length, offset
            )
            if not block:
                raise ConnectionResetError("the file is shorter than announced")
            async with asyncio.timeout(self._options.stall_s):
                await response.write(block)
            offset += len(block)

    async def _sendfile(
        self,
        transport: asyncio.Transport,
        file: BinaryIO,
        part: ByteRange,
    ) -> None:
        loop = asyncio.get_running_loop()
        # The headers must have left before the socket is written past them.
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.001)  # headers only: one packet
            if transport.is_closing():
                raise ConnectionResetError("the client has left")
        # A number of our own: the transport may close its socket while a thread
        # is writing, and the number would go to the next client.
        out = os.dup(transport.get_extra_info("socket").fileno())
        try:
            offset = part.start
            while offset < part.stop:
                if transport.is_closing():
                    raise ConnectionResetError("the client has left")
                end = min(part.stop, offset + self._options.burst_bytes)
                offset, full = await loop.run_in_executor(
                    self._pool, _burst, out, file.fileno(), offset, end
                )
                if full:
                    await self._writable(out)
        finally:
            os.close(out)

    async def _writable(self, out: int) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(out, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), self._options.stall_s)
        except TimeoutError:
            raise ConnectionResetError("the client takes no bytes") from None
        finally:
            loop.remove_writer(out)


def _burst(out: int, file: int, offset: int, end: int) -> tuple[int, bool]:
    """Send up to *end*; ``(next offset, whether the client's buffer is full)``."""
    try:
        while offset < end:
            sent = os.sendfile(out, file, offset, end - offset)
            if sent == 0:
                raise ConnectionResetError("the file is shorter than announced")
            offset += sent
    except BlockingIOError:
        return offset, True
    return offset, False


def file_headers(path: str) -> dict[str, str]:
    """Headers every file answer has.  Nothing served here runs as a page."""
    name = path.rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().replace('"', "'")
    is_text = name.lower().endswith(_TEXT_SUFFIXES)
    return {
        "Accept-Ranges": "bytes",
        "Content-Type": "text/plain; charset=utf-8"
        if is_text
        else "application/octet-stream",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}; "
        f'filename="{plain}";',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
