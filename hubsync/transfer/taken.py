"""A connection whose bytes we take ourselves, past aiohttp, for one body."""

import asyncio

import aiohttp


class Taken(asyncio.BaseProtocol):
    """Takes a connection over from aiohttp, and gives it back after the last byte.

    How the bytes are received is for those that derive from this: they count
    `_left_bytes` down, and call `_give_back` at 0.  `can_take_over` says whether
    it is possible.
    """

    def __init__(self, response: aiohttp.ClientResponse, left_bytes: int) -> None:
        """*response*: its connection must not be used meanwhile.

        *left_bytes*: how much of its body is still to come.
        """
        connection = response.connection
        assert connection is not None, "there is something to come"
        assert connection.protocol is not None
        assert connection.transport is not None
        self._response, self._left_bytes = response, left_bytes
        self._transport, self._former = connection.transport, connection.protocol
        self._loop = asyncio.get_running_loop()
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.byte_at = self._loop.time()  # of the last byte, or of our start
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
        self._listen()

    def fail(self, error: BaseException) -> None:
        """Give up: whoever waits gets *error* once what has come is dealt with."""
        if self._error is None:
            self._error = error
        if self._is_ours:
            self._deafen()
        self._wake()

    def flush(self) -> None:
        """Pass on what has come, if it is kept back until there is more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.BaseProtocol`."""
        if self._is_ours:
            self._deafen()
        self._is_ours = False
        self._former.connection_lost(exc)
        self.fail(exc or ConnectionError("the connection was closed"))

    def pause_writing(self) -> None:
        """As `asyncio.BaseProtocol`: our request is small and gone."""

    def resume_writing(self) -> None:
        """As `asyncio.BaseProtocol`."""

    async def _until_paused(self) -> bool:
        """Whether something that has come waits to be dealt with, or all has come.

        Raises:
            OSError: the connection broke.
            BaseException: whatever else it was given up for.
        """
        while self._error is None:
            if self._is_paused:
                return True
            if not self._left_bytes:
                return False
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise self._error

    def _listen(self) -> None:
        """Receive from now on."""
        self._transport.resume_reading()

    def _deafen(self) -> None:
        """Receive nothing for now."""
        self._transport.pause_reading()

    def _pause(self) -> None:
        """What has come waits to be dealt with."""
        self._is_paused = True
        if self._is_ours:
            self._deafen()
        self._wake()

    def _resume(self) -> None:
        """It is dealt with."""
        self._is_paused = False
        self.byte_at = self._loop.time()
        if self._is_ours:
            self._listen()

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


def can_take_over(response: aiohttp.ClientResponse, size_bytes: int) -> bool:
    """Whether the body is *size_bytes* and nothing else, and not all here yet."""
    return (
        response.content_length == size_bytes
        and "Transfer-Encoding" not in response.headers
        and "Content-Encoding" not in response.headers
        and response.connection is not None
        and response.connection.transport is not None
        and not response.connection.transport.is_closing()
        and not response.content.is_eof()
    )


def is_plain(response: aiohttp.ClientResponse) -> bool:
    """Whether its bytes are on the wire as they are.

    Its address does not tell: a proxy may be spoken to over TLS.
    """
    connection = response.connection
    if connection is None or connection.transport is None:
        return False  # nothing of it comes any more
    return connection.transport.get_extra_info("sslcontext") is None
