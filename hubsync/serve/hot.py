"""The shortest way: a file that was asked for before, from the request's own bytes.

aiohttp makes an object, a task and three turns of the loop of each request, ten
times what it costs to know the answer.  What was answered the long way is noted, and
while the catalog stays as it is, a request to the same address is met where its bytes
come in.  Whatever is not understood to the letter goes the long way, which knows all
there is to know; so does every answer if it matters who asks.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

from aiohttp import web

from hubsync.model.errors import HubsyncError
from hubsync.model.snapshot import HeldEntry
from hubsync.serve.account import log_answer
from hubsync.serve.edge import CLIENT_CLOSED_REQUEST, request_id, request_ids
from hubsync.serve.files import INLINE_BYTES_MAX, READY_BYTES_MAX, FileSender, head_of
from hubsync.serve.found import Found
from hubsync.serve.library import Library
from hubsync.serve.metrics import Metrics
from hubsync.serve.missing import Missing
from hubsync.serve.ready import Ready, block_of
from hubsync.serve.recall import NAME_CHARS_MAX, HotFile
from hubsync.serve.routing import ROUTE
from hubsync.serve.sendfile import AT_ONCE_BYTES_MAX
from hubsync.serve.sent import count
from hubsync.wire.ranges import ByteRange, RangeAnswer, content_range, parse_range

log = logging.getLogger("hubsync.serve")

REQUEST_BYTES_MAX = 2048
_REQUEST = re.compile(
    rb"(GET|HEAD) (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
)
# Whatever they say, the answer with a file is the same, where nobody is asked who
# he is.  (`Accept` has Xet's answer in it, and those files are not remembered.)
_WITHOUT_EFFECT = frozenset(
    b"accept accept-encoding accept-language authorization cache-control cookie host "
    b"origin pragma priority referer user-agent x-amzn-trace-id".split()
)
_RANGE = re.compile(  # at the beginning of a line
    rb"(?<![^\n])Range: bytes=(\d{1,15})-(\d{1,15})\r\n", re.IGNORECASE
)
_AGENT = re.compile(rb"^user-agent:[ \t]*(.*?)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
VERB = "resolve"
HEADERS_MAX = 256  # blocks of them, that are known to change nothing
_Sent = tuple[int, int]
_Asked = ByteRange | RangeAnswer


class Hot:
    """Remembers answers, and gives them."""

    def __init__(
        self,
        library: Library,
        sender: FileSender,
        metrics: Metrics,
        missing: Missing | None = None,
    ) -> None:
        self._library, self._sender, self._metrics = library, sender, metrics
        self._missing = missing
        self._without_effect: set[bytes] = set()

    def remember(
        self,
        request: web.Request,
        found: Found,
        one: HeldEntry,
        etag: str,
        headers: Mapping[str, str],
    ) -> None:
        """Note that *request* is answered with *one*, as long as the rows are true."""
        target = request.raw_path
        known = self._library.recalled()
        if one.digest is None or "?" in target or len(target) > NAME_CHARS_MAX:
            return
        if not target.isascii() or target.encode() in known.hot:
            return
        route, row, snapshot = found.route, found.row, found.snapshot
        rows = (
            known.repos.get((route.repo_type, route.name)) is row
            and known.snapshots.get((row.id, route.revision)) is snapshot
            and known.entries.get((snapshot.id, route.path)) is one
        )
        if not rows:  # looked up before the catalog changed
            return
        size, said = one.entry.size_bytes, tuple(headers.items())
        used = (
            partial(self._missing.used, row, route.revision) if self._missing else None
        )
        known.hot[target.encode()] = HotFile(
            one,
            head_of(one.entry.path, size, etag, said),
            head_of(one.entry.path, None, etag, said),
            used,
        )

    def answer(self, data: bytes, transport: asyncio.Transport) -> "Begun | bool":
        """Answer *data*, all that has come on an idle connection.

        True: it is answered.  False: nothing was sent, and it is for others.
        """
        started = time.monotonic()
        sent: _Sent | Begun | None
        try:
            known = self._known(data)
            if known is None or transport.get_write_buffer_size():
                return False
            found, file, asked = known
            number = request_ids.next()
            if found[1] == b"HEAD":
                sent = self._head(file, number, transport)
            else:
                sent = self._get(file, asked, number, transport)
        except (OSError, HubsyncError):
            return False  # the long way meets it again, reports it and says so
        if sent is None:
            return False
        if file.used:
            file.used()
        if isinstance(sent, Begun):
            return sent
        self._count(found, sent, time.monotonic() - started, number, transport)
        return True

    def _known(self, data: bytes) -> tuple[re.Match[bytes], HotFile, _Asked] | None:
        """The request, what it is answered with, and what of it."""
        found = _REQUEST.fullmatch(data) if len(data) <= REQUEST_BYTES_MAX else None
        file = self._library.recalled().hot.get(found[2]) if found else None
        if found is None or file is None:
            return None
        asked = self._asked(found[3], file.one.entry.size_bytes)
        return None if asked is None else (found, file, asked)

    def _asked(self, lines: bytes, size: int) -> _Asked | None:
        """What the headers *lines* ask for; None: they are not to be judged here."""
        part = _RANGE.search(lines)
        others = lines[: part.start()] + lines[part.end() :] if part else lines
        if part and others in self._without_effect:
            # As many ask for one part after another, with the same headers.
            start, stop = int(part[1]), int(part[2]) + 1
            if start < stop <= size:
                return ByteRange(start, stop)
        asked = _range_in(lines)
        # A part of nothing is told otherwise.
        if asked is None or (asked and not size):
            return None
        if len(self._without_effect) >= HEADERS_MAX:
            self._without_effect.clear()
        if part:
            self._without_effect.add(others)
        return parse_range(asked, size)

    def _count(
        self,
        request: re.Match[bytes],
        sent: _Sent,
        elapsed_s: float,
        number: str,
        transport: asyncio.Transport,
    ) -> None:
        """As `account` does."""
        method, (status, length) = request[1].decode(), sent
        self._metrics.began()
        self._metrics.ended(method, VERB, status, elapsed_s, length)
        if log.isEnabledFor(logging.INFO):
            peer, agent = (
                transport.get_extra_info("peername"),
                _AGENT.search(request[3]),
            )
            log_answer(
                method=method,
                target=request[2].decode(),
                status=status,
                elapsed_s=elapsed_s,
                sent_bytes=length,
                client=peer[0] if isinstance(peer, tuple) else "",
                agent=agent[1].decode() if agent else "",
                number=number,
            )

    # Each of these gives status and length of the body that it has sent; None: it
    # has sent nothing.

    def _head(
        self, file: HotFile, number: str, transport: asyncio.Transport
    ) -> _Sent | None:
        assert file.one.digest
        if not self._sender.blobs.has(file.one.digest, file.one.entry.size_bytes):
            return None
        transport.write(block_of(200, file.whole.block, number))
        return 200, 0

    def _get(
        self, file: HotFile, part: _Asked, number: str, transport: asyncio.Transport
    ) -> "_Sent | Begun | None":
        one, size = file.one, file.one.entry.size_bytes
        assert one.digest
        if part is RangeAnswer.WHOLE and size and size <= READY_BYTES_MAX:
            body = self._sender.blobs.read(one.digest, size)
            if body is None:
                return None
            transport.write(block_of(200, file.whole.block, number) + body)
            return 200, size
        if not isinstance(part, ByteRange) or part.size_bytes > AT_ONCE_BYTES_MAX:
            return None
        opened = self._sender.blobs.open(one.digest)
        begun = None
        try:
            if os.fstat(opened.fileno()).st_size == size:
                begun = self._send(file, part, opened, number, transport)
        finally:
            if not isinstance(begun, Begun):
                opened.close()
        return begun

    def _send(
        self,
        file: HotFile,
        part: ByteRange,
        opened: BinaryIO,
        number: str,
        transport: asyncio.Transport,
    ) -> "_Sent | Begun | None":
        """A part, which may be all of the file."""
        mover, descriptor = self._sender.mover, opened.fileno()
        length = part.size_bytes
        is_short = length <= INLINE_BYTES_MAX
        body = os.pread(descriptor, length, part.start) if is_short else b""
        if is_short and len(body) != length:
            return None
        if not is_short and not mover.sends_at_once(transport, descriptor, part):
            return None
        said = content_range(part, file.one.entry.size_bytes)
        block = (
            f"{file.part.block}Content-Length: {length}\r\nContent-Range: {said}\r\n"
        )
        head = block_of(206, block, number)
        if is_short:
            transport.write(head + body)
            return 206, length
        at = mover.begin(transport, head, descriptor, part)
        if at == part.stop:
            return 206, length
        if transport.is_closing():  # before aiohttp would have the request
            return CLIENT_CLOSED_REQUEST, at - part.start
        return Begun(file, opened, number, (part.start, at, part.stop))

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """The rest of what `answer` has begun, once aiohttp has the request as well."""
        begun: Begun = request.protocol.take_begun()  # type: ignore[attr-defined]
        request[ROUTE] = VERB
        with begun.file as file:
            begun.belongs_to(request)
            request_id.set(begun.number)
            count(begun.left_bytes)
            sending = self._sender.mover.send(request, begun, file.fileno(), begun.rest)
            await self._sender.sent(request, begun.one, sending)
        return begun


class Begun(Ready):
    """A 206 whose headers have left already, and *left_bytes* of its body."""

    def __init__(
        self, hot: HotFile, file: BinaryIO, number: str, bounds: tuple[int, int, int]
    ) -> None:
        super().__init__(hot.part, status=206)
        start, at, stop = bounds
        self.one, self.file, self.number = hot.one, file, number
        self.left_bytes, self.rest = at - start, ByteRange(at, stop)
        self._sent_bytes = 1

    def belongs_to(self, request: web.Request) -> None:
        self._asked, self._keep_alive = request, request.keep_alive


def _range_in(lines: bytes) -> str | None:
    """The ``Range`` among *lines*, "" if there is none; None: not to be judged here."""
    asked = ""
    names: set[bytes] = set()
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in names:
            return None  # aiohttp refuses some that come twice, and very many
        names.add(name)
        if name == b"range":
            asked = value.strip().decode()
        elif name == b"connection":
            if value.strip().lower() != b"keep-alive":
                return None
        elif name not in _WITHOUT_EFFECT:
            return None
    return asked if b"host" in names else None
