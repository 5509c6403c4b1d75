"""The body of an answer, from the socket straight into a buffer of ours.

aiohttp hands a body out as `bytes` objects, each made, copied, queued and waited
for; at a gigabyte a second that is half of what a pull costs.  So once the headers
are read we take its connection's bytes ourselves, and give the connection back
after the last one, good for the next request.
"""

import asyncio
from collections.abc import Callable

import aiohttp

# When the other side closes while we are paused, asyncio's TLS hands out what it
# has once, as much as one buffer takes, and drops the rest: twice 256 KiB at most.
TLS_BUFFER_BYTES = 512 * 1024

# Gets what has come; the buffer to go on with, or None: not now, `wait` for it.
Consume = Callable[[memoryview], memoryview | None]


class Direct(asyncio.BufferedProtocol):
    """Fills buffers, one after another, until all bytes of a body have come."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        left_bytes: int,
        buffer: memoryview,
        consume: Consume,
    ) -> None:
        """`can_take_over` says whether this is possible.

        Args:
            response: the answer; its connection must not be used meanwhile.
            left_bytes: how much of its body is still to come.
            buffer: where to, at first; it is full when a byte is left, which is for
                what may come behind the body.
            consume: what to do with a buffer that is full, or with the last.
        """
        connection = response.connection
        assert connection is not None, "there is something to come"
        assert connection.protocol is not None
        assert connection.transport is not None
        self._response, self._left_bytes = response, left_bytes
        self._transport, self._former = connection.transport, connection.protocol
        self._buffer, self._have = buffer, 0
        self._consume = consume
        self._clock = asyncio.get_running_loop().time
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.byte_at = self._clock()  # loop time of the last byte, or of our start
        self._is_ours = False  # whether the connection's bytes come to us
        self._is_paused = False  # what has come waits to be dealt with

    @property
    def is_waiting(self) -> bool:
        """Whether it is for the other side to go on."""
        return self._is_ours and not self._is_paused

    def start(self) -> None:
        """Take what comes from now on."""
        self._former.pause_reading()  # which also ends its own time limit
        self._transport.set_protocol(self)
        self._is_ours = True
        self._transport.resume_reading()

    async def wait(self) -> memoryview | None:
        """What was not consumed, or None: all has come and was consumed.

        Nothing more is received until `go_on`.

        Raises:
            OSError: the connection broke.
            BaseException: whatever `consume` raised.
        """
        while self._error is None:
            if self._is_paused:
                return self._buffer[: self._have]
            if not self._left_bytes:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise self._error

    def go_on(self, buffer: memoryview) -> None:
        """What `wait` returned is in good hands; receive into *buffer*."""
        self._buffer, self._have, self._is_paused = buffer, 0, False
        self.byte_at = self._clock()
        if self._is_ours:
            self._transport.resume_reading()

    def flush(self) -> None:
        """Have consumed what has come, though the buffer is not full."""
        if not self._have or self._is_paused or self._error:
            return
        try:
            following = self._consume(self._buffer[: self._have])
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self._have = 0  # as much of it as could be consumed is
            self._fail(error)
            return
        if following is not None:
            self._buffer, self._have = following, 0
            return
        self._is_paused = True
        if self._is_ours:
            self._transport.pause_reading()
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Give up: `wait` raises *error* once what has come is dealt with."""
        self._fail(error)

    def stop(self) -> memoryview:
        """Receive no more; what has come and nobody has consumed."""
        if self._is_ours:
            self._transport.pause_reading()
        rest, self._have = self._buffer[: self._have], 0
        return rest

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """As `asyncio.BufferedProtocol`: room for the body and one byte more."""
        room = len(self._buffer) - 1 - self._have
        ends = self._left_bytes <= room
        return self._buffer[self._have :][: self._left_bytes + 1 if ends else room]

    def buffer_updated(self, nbytes: int) -> None:
        """As `asyncio.BufferedProtocol`."""
        is_too_much = nbytes > self._left_bytes
        nbytes -= is_too_much
        self._have += nbytes
        self._left_bytes -= nbytes
        self.byte_at = self._clock()
        if not self._left_bytes:
            self._give_back(is_good=not is_too_much)
            self.flush()
            self._wake()
        elif self._have == len(self._buffer) - 1:
            self.flush()

    def eof_received(self) -> None:
        """As `asyncio.BufferedProtocol`: the other side has no more to say."""
        self._fail(ConnectionError("the connection was closed"))

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.BufferedProtocol`."""
        self._is_ours = False
        self._former.connection_lost(exc)
        self._fail(exc or ConnectionError("the connection was closed"))

    def pause_writing(self) -> None:
        """As `asyncio.BufferedProtocol`: our request is small and gone."""

    def resume_writing(self) -> None:
        """As `asyncio.BufferedProtocol`."""

    def _give_back(self, *, is_good: bool) -> None:
        """Let aiohttp use the connection for another request, if it *is_good*.

        Its parser waits for a body that it never saw; each request has a new one.
        """
        self._is_ours = False
        self._transport.set_protocol(self._former)
        if not is_good:  # what else comes would be taken for the next answer
            self._former.force_close()
        self._former.resume_reading()
        self._response.content.feed_eof()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        if self._is_ours:
            self._transport.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def come_already(response: aiohttp.ClientResponse) -> list[bytes]:
    """What of the body came along with the headers.

    Raises:
        aiohttp.ClientError: the connection broke.
    """
    found = []
    # Reading makes room, and then a parser that was stopped may give more.
    while block := response.content.read_nowait():
        found.append(block)
    return found


def can_take_over(
    response: aiohttp.ClientResponse, size_bytes: int, buffer_bytes: int
) -> bool:
    """Whether the body is *size_bytes* and nothing else, and not all here yet.

    *buffer_bytes*: how much each buffer takes.
    """
    is_roomy = response.url.scheme == "http" or buffer_bytes >= TLS_BUFFER_BYTES
    return (
        is_roomy
        and response.content_length == size_bytes
        and "Transfer-Encoding" not in response.headers
        and "Content-Encoding" not in response.headers
        and response.connection is not None
        and response.connection.transport is not None
        and not response.connection.transport.is_closing()
        and not response.content.is_eof()
    )
