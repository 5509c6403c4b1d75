"""Answering with a blob: conditions, ranges, headers."""

import os
from collections.abc import Awaitable, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from aiohttp import web

from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoId
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError, BlobStore
from hubsync.serve.accel import Accel
from hubsync.serve.damages import Damages
from hubsync.serve.errors import Problem, damaged
from hubsync.serve.found import Found
from hubsync.serve.options import ServeOptions
from hubsync.serve.ready import Head, Ready
from hubsync.serve.sendfile import Mover
from hubsync.serve.visit import is_paced, pieces_of, sent_elsewhere
from hubsync.wire.ranges import (
    ByteRange,
    RangeAnswer,
    content_range,
    matches_any,
    parse_range,
    range_applies,
)

# One read costs less than a thread.  A slow client's answer waits in our memory.
INLINE_BYTES_MAX = 128 * 1024
READY_BYTES_MAX = 64 * 1024  # a copy costs less than aiohttp's care for the headers
HEADS_MAX = 4096  # of files, 2 kB each
_TEXT_SUFFIXES = (
    *(".json", ".md", ".txt", ".py", ".yaml", ".yml", ".jinja", ".csv", ".jsonl"),
    *(".gitattributes", ".gitignore", ".html", ".js", ".css", ".svg", ".xml"),
)


class FileSender:
    """Sends blobs of one store."""

    def __init__(
        self,
        blobs: BlobStore,
        options: ServeOptions,
        damages: Damages,
        accel: Accel | None = None,
    ) -> None:
        self.blobs, self._damages = blobs, damages
        self._accel = accel or Accel(ServeOptions(), None)
        self.mover = Mover(options)

    def close(self) -> None:
        self.mover.close()

    async def send(
        self,
        request: web.Request,
        found: Found,
        one: HeldEntry,
        etag: str,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Answer *request* with the blob of *one* in *found*, whose digest is not None.

        Raises:
            Problem: the blob is not there, or not as long as recorded.
        """
        answer = self._quickly(request, one, etag, headers)
        if answer is not None:
            return answer
        with self.open(one, found.row.repo) as file:
            path, size = one.entry.path, one.entry.size_bytes
            chosen = choose(request, path, size, etag, headers)
            if isinstance(chosen, web.Response):
                return chosen
            status, part, common = chosen
            if part.size_bytes <= INLINE_BYTES_MAX and request.method == "GET":
                body = self._read(file, part, one, found.row.repo)
                return web.Response(status=status, headers=common, body=body)
            # A proxy that sends the file would not keep to a token's rate.
            if request.method == "GET" and one.digest and not is_paced(request):
                elsewhere = self._accel.headers(request, one.digest)
                if elsewhere is not None:
                    sent_elsewhere(request, part.size_bytes)
                    # Whoever sends the file sees to the range as well.
                    common.pop("Content-Range", None)
                    return web.Response(headers={**common, **elsewhere})
            own = {"Content-Length": str(part.size_bytes)}
            if "Content-Range" in common:
                own["Content-Range"] = common["Content-Range"]
            head = head_of(path, None, etag, tuple(headers.items()))
            response = Ready(head, status=status, own=own)
            await response.prepare(request)
            if request.method == "GET":
                sending = self._send(request, response, file, part)
                await self.sent(request, one, sending)
            return response

    def _quickly(
        self,
        request: web.Request,
        one: HeldEntry,
        etag: str,
        headers: Mapping[str, str],
    ) -> web.Response | None:
        """What is asked most: HEAD, and the whole of a small file; None: the rest.

        Thrice as fast as the long way round, which also says what is wrong.
        """
        asked, size = request.headers, one.entry.size_bytes
        if "Range" in asked or "If-None-Match" in asked:
            return None
        assert one.digest
        body: bytes | None = None
        try:
            if request.method == "HEAD":
                # Its bytes are not needed, but one that is gone must not be promised.
                body = b"" if self.blobs.has(one.digest, size) else None
            elif request.method == "GET" and size <= READY_BYTES_MAX:
                body = self.blobs.read(one.digest, size)
        except (OSError, HubsyncError):
            return None  # the long way meets it again, reports it and says so
        if body is None:
            return None
        return Ready(head_of(one.entry.path, size, etag, tuple(headers.items())), body)

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        file: BinaryIO,
        part: ByteRange,
    ) -> None:
        async with aclosing(pieces_of(request, part)) as pieces:
            async for piece in pieces:
                await self.mover.send(request, response, file.fileno(), piece)

    def open(self, one: HeldEntry, repo: RepoId) -> BinaryIO:
        """The blob of *one* of *repo*, whose digest is not None; the caller closes it.

        Raises:
            Problem: it is not there, or not as long as recorded.
        """
        assert one.digest
        try:
            file = self.blobs.open(one.digest)
        except BlobNotFoundError:
            raise self._problem(one, repo, "recorded blob is missing") from None
        except OSError as error:
            what = f"recorded blob cannot be opened: {error.strerror}"
            raise self._problem(one, repo, what, error) from error
        if os.fstat(file.fileno()).st_size != one.entry.size_bytes:
            file.close()
            raise self._problem(one, repo, "recorded blob has another size")
        return file

    def _read(
        self, file: BinaryIO, part: ByteRange, one: HeldEntry, repo: RepoId
    ) -> bytes:
        try:
            body = os.pread(file.fileno(), part.size_bytes, part.start)
        except OSError as error:
            what = f"recorded blob cannot be read: {error.strerror}"
            raise self._problem(one, repo, what, error) from error
        if len(body) != part.size_bytes:
            raise self._problem(one, repo, "recorded blob has another size")
        return body

    def _problem(
        self, one: HeldEntry, repo: RepoId, what: str, error: OSError | None = None
    ) -> Problem:
        other = self._damages.met(one, what, error)
        return other or damaged(repo, one.entry.path)

    async def sent(
        self, request: web.Request, one: HeldEntry, sending: Awaitable[None]
    ) -> None:
        """Wait for the body, after the headers; what fails ends the connection."""
        try:
            await sending
        except BaseException as error:
            # More bytes were announced than sent: whatever came next on this
            # connection, an error page say, would be taken for the file's.
            if request.transport is not None:
                request.transport.abort()
            if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                what = f"recorded blob cannot be read: {error.strerror or error}"
                self._damages.met(one, what, error)
                raise ConnectionResetError("the file cannot be read") from error
            raise


@lru_cache(HEADS_MAX)
def head_of(
    path: str, size: int | None, etag: str, headers: tuple[tuple[str, str], ...]
) -> Head:
    """The headers of the whole file; without *size*, of any part of it."""
    own = {"ETag": f'"{etag}"'}
    if size is not None:
        own["Content-Length"] = str(size)
    return Head({**file_headers(path), **dict(headers), **own})


class Chosen(NamedTuple):
    """What of a file is sent, and how."""

    status: int
    part: ByteRange
    headers: dict[str, str]


def choose(
    request: web.Request,
    path: str,
    size_bytes: int,
    etag: str,
    headers: Mapping[str, str],
) -> Chosen | web.Response:
    """What *request* gets of a file, or the whole answer: 304, or 416."""
    common = {**file_headers(path), **headers, "ETag": f'"{etag}"'}
    if matches_any(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers=common)
    status, part = choose_part(request, size_bytes, etag, common)
    if part is None:
        return web.Response(status=status, headers=common)
    return Chosen(status, part, common)


def choose_part(
    request: web.Request, size: int, etag: str, headers: dict[str, str]
) -> tuple[int, ByteRange | None]:
    """Status and the bytes to send; adds ``Content-Range`` to *headers*."""
    wanted = request.headers.get("Range")
    # Ranges are defined for GET alone; HEAD tells of the whole file.
    applies = request.method == "GET" and range_applies(
        request.headers.get("If-Range"), etag
    )
    answer = parse_range(wanted, size) if applies else RangeAnswer.WHOLE
    if isinstance(answer, ByteRange):
        headers["Content-Range"] = content_range(answer, size)
        return 206, answer
    if answer is RangeAnswer.UNSATISFIABLE:
        headers["Content-Range"] = content_range(None, size)
        return 416, None
    if wanted and size == 0:
        # The JavaScript client reads the size from here, also of nothing.
        headers["Content-Range"] = content_range(None, 0)
    return 200, ByteRange(0, size)


@lru_cache(HEADS_MAX)
def file_headers(path: str) -> Mapping[str, str]:
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
