"""The body of an answer, from the socket into a pipe and on, never through us.

The kernel moves pages from the connection into the pipe and copies them once, into
the file.  That saves two copies and, with them, more than half of the time.
"""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache

import aiohttp

from hubsync.transfer.pipes import Pipe, Piped, Pipes
from hubsync.transfer.taken import Taken

_PEEK_BYTES = 64
# So much has to be there before we are woken: each time costs as much as copying it.
# What is less comes with the next `flush`.
_WORTH_BYTES = 256 * 1024

# Gets what has come; whether it was dealt with, or `wait` gives it to somebody.
Consume = Callable[[Piped | memoryview], bool]


class Spliced(Taken):
    """Moves what comes of a body into a pipe, until all has come.

    What begins with zeros comes in a buffer instead: it may be a hole, and the file
    is to have one there, too.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        left_bytes: int,
        buffer: memoryview,
        pipes: Pipes,
        consume: Consume,
    ) -> None:
        """As `Taken`.

        Args:
            response: the answer.
            left_bytes: how much of its body is still to come.
            buffer: where what begins with zeros is put.
            pipes: where to take one for what comes.
            consume: what to do with what has come; if it is in a pipe, that is its
                to give back.
        """
        super().__init__(response, left_bytes)
        self._buffer, self._pipes, self._consume = buffer, pipes, consume
        ours = self._transport.get_extra_info("socket")
        # asyncio lets nobody else wait for the descriptor that it waits for.
        self._socket = socket.socket(fileno=os.dup(ours.fileno()))
        self._is_listening = False
        self._is_flowing = False  # the first bytes, somebody may wait for

    async def wait(self) -> bool:
        """Whether something was not consumed, or all has come and was.

        Nothing more is received until `go_on`.

        Raises:
            OSError: the connection broke.
            BaseException: whatever `consume` raised.
        """
        return await self._until_paused()

    def go_on(self) -> None:
        """What was not consumed is dealt with."""
        self._resume()

    def flush(self) -> None:
        """As `Taken.flush`."""
        if self._is_listening:
            self._readable()

    def stop(self) -> None:
        """Receive no more."""
        self._deafen()
        self._ask_for(1)
        self._socket.close()

    def _listen(self) -> None:
        if not self._is_listening:
            self._loop.add_reader(self._socket, self._readable)
            self._is_listening = True

    def _deafen(self) -> None:
        if self._is_listening:
            self._loop.remove_reader(self._socket)
            self._is_listening = False

    def _readable(self) -> None:
        try:
            come = self._receive()
            if come is None:
                return
            self.byte_at = self._loop.time()
            self._left_bytes -= len(come)
            try:
                is_consumed = self._consume(come)
            finally:
                self._prepare_for_the_rest()
            if not is_consumed:
                self._pause()
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self.fail(error)
        if not self._left_bytes:
            self._wake()

    def _prepare_for_the_rest(self) -> None:
        if not self._left_bytes:
            self._deafen()
            self._ask_for(1)
            self._give_back(is_good=not self._is_more_to_come())
        elif not self._is_flowing or self._left_bytes < _WORTH_BYTES:
            self._is_flowing = True
            self._ask_for(min(self._left_bytes, _WORTH_BYTES))

    def _ask_for(self, least_bytes: int) -> None:
        """Be woken when so many bytes are there, or the end is."""
        with suppress(OSError):  # a system that does not know it wakes us for each
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)

    def _receive(self) -> Piped | memoryview | None:
        """What there is; None: nothing after all.

        Raises:
            OSError: the connection broke.
        """
        try:
            begins = self._socket.recv(_PEEK_BYTES, socket.MSG_PEEK)
            if not begins:
                raise ConnectionError("the connection was closed")
            moved = self._move() if any(begins) else None
            # What is there and does not go into a pipe can still be received: a
            # pipe that is full of crumbs, or TCP's urgent data, of which there is
            # none in HTTP.
            return moved or self._copy()
        except (BlockingIOError, InterruptedError):
            return None

    def _move(self) -> Piped | None:
        pipe = self._pipes.take()
        try:
            moved = pipe.fill(self._socket.fileno(), self._left_bytes)
        except BlockingIOError:
            moved = None
        except BaseException:
            pipe.close()
            raise
        if not moved:
            self._pipes.give(pipe)  # nothing has come into it
        return moved or None

    def _copy(self) -> memoryview | None:
        into = self._buffer[: self._left_bytes]
        return into[: self._socket.recv_into(into)] or None

    def _is_more_to_come(self) -> bool:
        """Whether there is something behind the body, where nothing should be."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False


@cache
def can_splice() -> bool:
    """Whether this system moves bytes from a socket to a pipe."""
    if not hasattr(os, "splice"):
        return False
    with ExitStack() as stack:
        try:
            pipe = Pipe()
            stack.callback(pipe.close)
            ours, theirs = map(stack.enter_context, socket.socketpair())
            theirs.send(b"x")
            return len(pipe.fill(ours.fileno(), 1)) == 1
        except OSError:
            return False
