"""Answers whose headers are bytes already.

aiohttp takes 15 us to put the headers of one answer together, a third of all that
a HEAD costs.  Those of a file are always the same.
"""

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from hubsync.serve.edge import COMMON_HEADERS, Decorated, request_id

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Head:
    """Headers that many answers have, besides those of `edge.decorate`.

    Raises:
        ValueError: one has a line break, and would begin another.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.block = _lines({**headers, **COMMON_HEADERS})


_STARTS = {200: "200 OK\r\n", 206: "206 Partial Content\r\n"}
_NOTHING: Mapping[str, str] = {}


class Ready(Decorated):
    """A `Head` and a body, sent in one write, or with *body* to be sent after it.

    *status* is 200 or 206; *own* are headers of this answer besides.
    """

    def __init__(
        self,
        head: Head,
        body: bytes = b"",
        *,
        status: int = 200,
        own: Mapping[str, str] = _NOTHING,
    ) -> None:
        super().__init__(body=body, status=status)
        self._head, self._whole, self._own = head, body, own
        self._own_headers: CIMultiDict[str] | None = None
        self._asked: BaseRequest | None = None
        self._sent_bytes = 0

    @property
    def headers(self) -> CIMultiDict[str]:
        """To read and to change; whoever touches them pays for it."""
        if self._own_headers is None:
            self._own_headers = CIMultiDict(self._head.headers)
            self._own_headers.update(self._own)
            self._own_headers.update(COMMON_HEADERS)
        return self._own_headers

    @property
    def prepared(self) -> bool:
        return self._sent_bytes > 0

    @property
    def body_length(self) -> int:
        """As aiohttp counts: with the headers."""
        return self._sent_bytes

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send it, once.

        Raises:
            ConnectionError: the client has left.
        """
        if self._sent_bytes:
            return None
        await request._prepare_hook(self)  # noqa: SLF001 - "on_response_prepare", as aiohttp's own
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if self._keep_alive is None:  # not `force_close`
            self._keep_alive = request.keep_alive
        version, end = "1.1", ""
        if request.version != HttpVersion11:
            version = "1.0"
            end = "Connection: keep-alive\r\n" if self._keep_alive else ""
        elif not self._keep_alive:
            end = "Connection: close\r\n"
        if self._own_headers is not None:
            block = _lines(self._own_headers)
        elif self._own:
            block = self._head.block + _lines(self._own)
        else:
            block = self._head.block
        start = block_of(self.status, block + end, request_id.get(), version)
        whole = start + self._whole
        self._asked, self._sent_bytes = request, len(whole)
        transport.write(whole)
        return None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send more of the body, as fast as the client takes it.

        Raises:
            ConnectionError: the client has left.
        """
        assert self._asked
        transport = self._asked.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(data)
        self._sent_bytes += len(data)
        await self._asked.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait for a client who asks and does not read."""
        assert not data
        assert self._asked
        await self._asked.writer.drain()


def block_of(status: int, block: str, number: str, version: str = "1.1") -> bytes:
    """All that stands before a body: *block* are lines, *number* is the request's."""
    date = _date(int(time.time()))
    return (
        f"HTTP/{version} {_STARTS[status]}{block}"
        f"X-Request-Id: {number}\r\nDate: {date}\r\n\r\n"
    ).encode()


def _lines(headers: Mapping[str, str]) -> str:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if any(_CONTROL.search(line) for line in lines):
        raise ValueError("a header has a control character")
    return "".join(f"{line}\r\n" for line in lines)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
