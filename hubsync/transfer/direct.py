"""The body of an answer, from the socket straight into a buffer of ours.

aiohttp hands a body out as `bytes` objects, each made, copied, queued and waited
for; at a gigabyte a second that is half of what a pull costs.  So once the headers
are read we take its connection's bytes ourselves, and give the connection back
after the last one, good for the next request.
"""

import asyncio
from collections.abc import Callable

import aiohttp

from hubsync.transfer.taken import Taken

# When the other side closes while we are paused, asyncio's TLS hands out what it
# has once, as much as one buffer takes, and drops the rest: twice 256 KiB at most.
TLS_BUFFER_BYTES = 512 * 1024

# Gets what has come; the buffer to go on with, or None: not now, `wait` for it.
Consume = Callable[[memoryview], memoryview | None]


class Direct(Taken, asyncio.BufferedProtocol):
    """Fills buffers, one after another, until all bytes of a body have come."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        left_bytes: int,
        buffer: memoryview,
        consume: Consume,
    ) -> None:
        """As `Taken`.

        Args:
            response: the answer.
            left_bytes: how much of its body is still to come.
            buffer: where to, at first; it is full when a byte is left, which is for
                what may come behind the body.  Over TLS it must take at least
                `TLS_BUFFER_BYTES`.
            consume: what to do with the first bytes, a buffer that is full, or the
                last.
        """
        super().__init__(response, left_bytes)
        self._buffer, self._have = buffer, 0
        self._consume = consume
        self._is_flowing = False  # the first bytes, somebody may wait for

    async def wait(self) -> memoryview | None:
        """What was not consumed, or None: all has come and was consumed.

        Nothing more is received until `go_on`.

        Raises:
            OSError: the connection broke.
            BaseException: whatever `consume` raised.
        """
        return self._buffer[: self._have] if await self._until_paused() else None

    def go_on(self, buffer: memoryview) -> None:
        """What `wait` returned is in good hands; receive into *buffer*."""
        self._buffer, self._have = buffer, 0
        self._resume()

    def flush(self) -> None:
        """Have consumed what has come, though the buffer is not full."""
        if not self._have or self._is_paused or self._error:
            return
        try:
            following = self._consume(self._buffer[: self._have])
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self._have = 0  # as much of it as could be consumed is
            self.fail(error)
            return
        if following is not None:
            self._buffer, self._have = following, 0
            return
        self._pause()

    def stop(self) -> memoryview:
        """Receive no more; what has come and nobody has consumed."""
        if self._is_ours:
            self._deafen()
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
        self.byte_at = self._loop.time()
        if not self._left_bytes:
            self._give_back(is_good=not is_too_much)
            self.flush()
            self._wake()
        elif not self._is_flowing or self._have == len(self._buffer) - 1:
            self._is_flowing = True
            self.flush()

    def eof_received(self) -> None:
        """As `asyncio.BufferedProtocol`: the other side has no more to say."""
        self.fail(ConnectionError("the connection was closed"))
