"""Moving the bytes of an open file to a client.

Large bodies are moved by `pump`.  `loop.sendfile` would send a whole range in one
system call as long as the client keeps up, and wait for a cold disk inside it:
everybody else would wait along.  What is short, and in memory, is sent at once: a
thread would cost as much as sending it.
"""

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aiohttp import web

from hubsync.model.units import MIB
from hubsync.serve.options import ServeOptions
from hubsync.serve.pagecache import PageCache
from hubsync.serve.pump import FileTruncatedError, Pump, Transfer, burst, send_once
from hubsync.serve.sent import count
from hubsync.wire.ranges import ByteRange

T = TypeVar("T")
Read = Callable[[int, int], bytes | bytearray]  # (length, offset); in a thread
POLL_S = 0.001
_MORE = getattr(socket, "MSG_MORE", 0)  # there is more to come: wait for it
LOOK_S = 0.5  # at whether the connection has been closed from our side
BLOCK_BYTES_MIN = 128 * 1024
AT_ONCE_BYTES_MAX = MIB  # 0.15 ms, in which nobody else is answered


class Mover:
    """Owns the threads that move bytes."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._pool = ThreadPoolExecutor(options.threads, "sendfile")
        # One waits for nothing but a core: more would only keep each other, and the
        # one that answers, from theirs.
        self._pumps = [Pump(self._pool, options.burst_bytes) for _ in range(_cores())]
        self._cache = PageCache()

    def close(self) -> None:
        # The pumps after their readers: who waits for one comes back to his pump.
        self._pool.shutdown(wait=True, cancel_futures=True)
        for pump in self._pumps:
            pump.close()

    async def send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        file: int,
        part: ByteRange,
    ) -> None:
        """Send *part* of *file*, after *response* has sent its headers.

        Raises:
            ConnectionError: the client has left, or takes no bytes any more.
            OSError: the file cannot be read, or is too short.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        if transport.get_extra_info("sslcontext") is not None:
            # sendfile would write plain text into the TLS stream
            read, has = partial(os.pread, file), partial(self._cache.has, file)
            await self.copy(request, response, read, part, has)
        else:
            await self._sendfile(transport, file, part)

    async def copy(
        self,
        request: web.Request,
        response: web.StreamResponse,
        read: Read,
        part: ByteRange,
        has: Callable[[int, int], bool] = lambda *_: False,
    ) -> None:
        """Send *part* of what *read* gives, block by block; raises as `send`.

        No more is read than the kernel takes at once: what a slow client has not
        taken yet would wait in our memory, a MiB or two for each.  What *has* says
        is in memory, from where to where, is read without a thread.
        """
        if request.transport is None:
            raise ConnectionResetError("the client has left")
        number = os.dup(request.transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=number) as out:
            offset = part.start
            while offset < part.stop:
                room = _room_bytes(out)
                if room < BLOCK_BYTES_MIN:
                    await self._writable(number)
                length = min(max(BLOCK_BYTES_MIN, room), MIB, part.stop - offset)
                if has(offset, offset + length):
                    block = read(length, offset)
                else:
                    block = await self._read(read, length, offset)
                if not block:
                    raise FileTruncatedError(f"no byte at {offset}")
                await self.write(response, block)
                offset += len(block)

    async def _read(self, read: Read, length: int, offset: int) -> bytes | bytearray:
        loop = asyncio.get_running_loop()
        return await _finished(loop.run_in_executor(self._pool, read, length, offset))

    async def write(
        self, response: web.StreamResponse, block: bytes | bytearray
    ) -> None:
        """Send *block*, from memory.

        Raises:
            ConnectionError: the client has left, or takes no bytes any more.
        """
        try:
            async with asyncio.timeout(self._options.stall_s):
                await response.write(block)
        except TimeoutError:
            raise _stalled() from None
        count(len(block))

    async def _sendfile(
        self, transport: asyncio.Transport, file: int, part: ByteRange
    ) -> None:
        await self._flushed(transport)
        if transport.is_closing():
            raise ConnectionResetError("the client has left")
        socket_number = transport.get_extra_info("socket").fileno()
        offset = self._at_once(socket_number, file, part.start, part.stop)
        if offset == part.stop:
            return
        # A number of our own: the transport may close its socket while a thread
        # is writing, and the number would go to the next client.
        out = os.dup(socket_number)
        try:
            if part.stop - offset <= AT_ONCE_BYTES_MAX:
                await self._writable(out)
                if transport.is_closing():
                    raise ConnectionResetError("the client has left")
                offset = self._at_once(out, file, offset, part.stop)
            if offset < part.stop:
                await self._pumped(transport, Transfer(out, file, offset, part.stop))
        finally:
            os.close(out)

    async def _pumped(self, transport: asyncio.Transport, transfer: Transfer) -> None:
        pump = min(self._pumps, key=lambda one: one.count)
        start = transfer.offset
        pump.begin(transfer)
        try:
            await self._ended(transport, transfer)
        finally:
            if not transfer.done.done():
                pump.stop(transfer)
                await _finished(transfer.done)
            count(transfer.offset - start)

    async def _ended(self, transport: asyncio.Transport, transfer: Transfer) -> None:
        """Wait for the end of *transfer* while its client is there and takes some.

        A slow client takes longer than `stall_s` for what the kernel keeps for it,
        so whoever has taken a little may go on; and the disk is not the client.
        """
        loop = asyncio.get_running_loop()
        stall_s = self._options.stall_s
        enough = self._options.rate_bytes_per_s_min * stall_s
        taken = transfer.offset - _queued_bytes(transfer.out)
        until = loop.time() + stall_s
        while not (await asyncio.wait([transfer.done], timeout=min(LOOK_S, stall_s)))[
            0
        ]:
            if transport.is_closing():
                raise ConnectionResetError("the client has left")
            if loop.time() < until:
                continue
            now = transfer.offset - _queued_bytes(transfer.out)
            if now - taken < enough and not transfer.waits_for_disk:
                raise _stalled()
            taken, until = now, loop.time() + stall_s
        transfer.done.result()

    def _at_once(self, out: int, file: int, offset: int, stop: int) -> int:
        """Send what is short and in memory as far as it goes; the next offset."""
        if stop - offset > AT_ONCE_BYTES_MAX or not self._cache.has(file, offset, stop):
            return offset
        sent = burst(out, file, offset, stop)
        count(sent - offset)
        return sent

    def sends_at_once(
        self, transport: asyncio.Transport, file: int, part: ByteRange
    ) -> bool:
        """Whether *part* can leave now, as far as its client takes it: `begin`."""
        is_plain = transport.get_extra_info("sslcontext") is None
        return is_plain and self._cache.has(file, part.start, part.stop)

    def begin(
        self, transport: asyncio.Transport, head: bytes, file: int, part: ByteRange
    ) -> int:
        """Send *head* and what the client takes at once of *part*; the next offset.

        For what `sends_at_once`, with nothing left to send before.  What fails here
        fails again, and is reported, when the rest is sent: after what has left.
        """
        own = transport.get_extra_info("socket")
        out = own.fileno()
        borrowed = socket.socket(own.family, own.type, own.proto, out)
        try:
            # One packet less, and a reader less often woken: a tenth of it all.
            sent = borrowed.send(head, _MORE)
        except BlockingIOError:
            sent = 0
        finally:
            borrowed.detach()
        if sent < len(head):
            transport.write(head[sent:])
            return part.start
        at = part.start
        with contextlib.suppress(OSError):
            while at < part.stop:
                before, at = at, send_once(out, file, at, part.stop)
                if at == before:
                    break
        return at

    async def _flushed(self, transport: asyncio.Transport) -> None:
        """Wait until the headers have left: the body goes past the transport."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.stall_s
        while transport.get_write_buffer_size():
            if transport.is_closing():
                raise ConnectionResetError("the client has left")
            if loop.time() > deadline:
                raise _stalled()
            # Rare (the socket was full before the headers), and no event tells.
            await asyncio.sleep(POLL_S)

    async def _writable(self, out: int) -> None:
        """Wait for room in the socket of a client that takes what it is sent.

        The kernel tells when a third of its buffer is free.  With a slow client
        that takes longer than `stall_s`, so whoever has taken some may go on.
        """
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        # asyncio allows no second watcher of the transport's own number, but
        # does of this one.
        loop.add_writer(out, ready.set)
        wait_s = self._options.stall_s
        enough = self._options.rate_bytes_per_s_min * wait_s
        try:
            queued = _queued_bytes(out)
            while not await _is_set(ready, wait_s):
                left = _queued_bytes(out)
                if queued - left < enough:
                    raise _stalled()
                queued = left
        finally:
            loop.remove_writer(out)


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _is_set(event: asyncio.Event, wait_s: float) -> bool:
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _room_bytes(out: socket.socket) -> int:
    """About what the kernel takes more of; it counts its own costs, too."""
    size = out.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return size // 2 - _queued_bytes(out.fileno())


def _queued_bytes(out: int) -> int:
    """What was sent and has not been received yet."""
    found = array.array("i", [0])
    fcntl.ioctl(out, termios.TIOCOUTQ, found)
    return found[0]


def _stalled() -> ConnectionError:
    return ConnectionResetError("the client takes no bytes")


async def _finished(work: "asyncio.Future[T]") -> T:
    """The result of a thread's work, waited for even while being cancelled.

    The thread uses file numbers that the caller closes next: closed too early,
    a number goes to another client, and so would the bytes.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        if not work.cancelled():
            work.exception()  # seen by nobody, asyncio would report it
        raise cancelled
    return work.result()
