"""The thread that moves large bodies: each as far as its client takes it, in turn.

One turn of the event loop for each bufferful would cost as much as sending it does, so
the event loop only begins a transfer and hears of its end.  What is not in memory is
sent by one of the *readers*: they wait for the disk, and nobody else does.
"""

import asyncio
import contextlib
import os
import selectors
import socket
import threading
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial

from hubsync.model.units import MIB
from hubsync.serve.pagecache import PageCache

TURN_BYTES_MAX = 2 * MIB  # 0.3 ms, in which a kernel may let nobody else have the core
LOOK_BYTES = 8 * MIB  # what is asked for at once, whether it is in memory


class FileTruncatedError(OSError):
    """The file ended before the bytes that the headers announced."""


@dataclass(slots=True, eq=False)
class Transfer:
    """The bytes from *offset* to *stop* of *file*, on their way to the socket *out*.

    *done* is set in the event loop; only then may the two numbers be closed.
    """

    out: int
    file: int
    offset: int
    stop: int
    done: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    waits_for_disk: bool = False
    unwanted: bool = False
    in_memory: int = 0  # up to here
    watched: bool = False
    corked: bool = False
    ended: bool = False
    error: OSError | None = None


class Pump:
    """Moves any number of transfers with one thread, and *readers* beside it."""

    def __init__(self, readers: Executor, burst_bytes: int) -> None:
        self._readers, self._burst_bytes = readers, burst_bytes
        self._cache = PageCache()
        self._new: deque[Transfer] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None  # with the next three
        self._selector: selectors.BaseSelector
        self._bell: socket.socket
        self._ear: socket.socket
        self.count = 0  # of transfers under way; the event loop's

    def begin(self, transfer: Transfer) -> None:
        """Start *transfer*, in the event loop that its *done* belongs to."""
        if self._thread is None:
            self._thread = self._started()
        self.count += 1
        transfer.done.add_done_callback(self._ended)
        self._hand_over(transfer)

    def stop(self, transfer: Transfer) -> None:
        """End *transfer* early: *done* is set soon, unless it waits for the disk."""
        transfer.unwanted = True
        self._hand_over(transfer)

    def close(self) -> None:
        """Let the thread end, and what is under way fail.  The readers have ended."""
        self._closed = True
        if self._thread is not None:
            self._ring()
            self._thread.join()
            for one in (self._selector, self._bell, self._ear):
                one.close()

    def _started(self) -> threading.Thread:
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        for end in (self._bell, self._ear):
            end.setblocking(False)  # noqa: FBT003
        self._selector.register(self._ear, selectors.EVENT_READ)
        thread = threading.Thread(target=self._run, name="sendfile", daemon=True)
        thread.start()
        return thread

    def _ended(self, _: "asyncio.Future[None]") -> None:
        self.count -= 1

    def _hand_over(self, transfer: Transfer) -> None:
        self._new.append(transfer)
        self._ring()

    def _ring(self) -> None:
        # Where there is no room it has been rung so often that it will wake up; and
        # once it is closed nothing is under way.
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

    # What follows runs in the thread.

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._listen()
                elif key.data.watched:  # `_listen` may have ended it since
                    self._push(key.data)
        self._listen()
        for key in [*self._selector.get_map().values()]:
            if key.data is not None:
                self._fail(key.data)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        while self._new:
            one = self._new.popleft()
            if one.ended or one.waits_for_disk:
                continue  # it was wanted no more: it has ended, or comes back
            if one.error or one.unwanted or one.offset == one.stop:
                self._end(one)
            elif not one.watched:
                self._watch(one)

    def _watch(self, one: Transfer) -> None:
        try:
            self._selector.register(one.out, selectors.EVENT_WRITE, one)
        except OSError as error:
            one.error = error
            self._end(one)
        else:
            one.watched = True
            if not one.corked:
                one.corked = True
                cork(one.out, on=True)

    def _unwatch(self, one: Transfer) -> None:
        if one.watched:
            self._selector.unregister(one.out)
            one.watched = False

    def _push(self, one: Transfer) -> None:
        """Send what the client takes, now that it takes some."""
        if one.offset >= one.in_memory:
            end = min(one.stop, one.offset + LOOK_BYTES)
            if not self._cache.has(one.file, one.offset, end):
                self._unwatch(one)
                one.waits_for_disk = True
                try:
                    reading = self._readers.submit(self._read, one)
                except RuntimeError:  # they have ended
                    self._fail(one)
                else:
                    reading.add_done_callback(partial(self._come_back, one))
                return
            one.in_memory = end
        end = min(one.in_memory, one.offset + TURN_BYTES_MAX)
        try:
            one.offset = send_once(one.out, one.file, one.offset, end)
        except OSError as error:
            one.error = error
        if one.error or one.offset == one.stop:
            self._end(one)

    def _fail(self, one: Transfer) -> None:
        one.error = ConnectionAbortedError("the server ends")
        self._end(one)

    def _end(self, one: Transfer) -> None:
        self._unwatch(one)
        if one.corked:
            cork(one.out, on=False)
        one.ended = True
        one.done.get_loop().call_soon_threadsafe(_set, one)

    # And this in a reader's.

    def _read(self, one: Transfer) -> None:
        if one.unwanted:
            return
        end = min(one.stop, one.offset + self._burst_bytes)
        try:
            one.offset = burst(one.out, one.file, one.offset, end)
        except OSError as error:
            one.error = error

    def _come_back(self, one: Transfer, reading: "Future[None]") -> None:
        if reading.cancelled():
            one.error = ConnectionAbortedError("the server ends")
        one.waits_for_disk = False
        self._hand_over(one)


def _set(one: Transfer) -> None:
    if one.error:
        one.done.set_exception(one.error)
    else:
        one.done.set_result(None)


def cork(out: int, *, on: bool) -> None:
    """Have the kernel wait for whole packets until it is told otherwise.

    A fourth fewer cycles for each byte.  Nothing without it fails: a socket that is
    not TCP, or is closed already, and systems that have no such option.
    """
    option = getattr(socket, "TCP_CORK", None)
    if option is None:
        return
    borrowed = socket.socket(fileno=out)
    with contextlib.suppress(OSError):
        borrowed.setsockopt(socket.IPPROTO_TCP, option, on)
    borrowed.detach()


def send_once(out: int, file: int, offset: int, end: int) -> int:
    """Send up to *end*, as much as *out* takes in one call; the next offset.

    Raises:
        FileTruncatedError: there is no byte at *offset*.
        OSError: the client has left, or the file cannot be read.
    """
    try:
        sent = os.sendfile(out, file, offset, end - offset)
    except BlockingIOError:
        return offset
    if sent == 0:
        raise FileTruncatedError(f"no byte at {offset}")
    return offset + sent


def burst(out: int, file: int, offset: int, end: int) -> int:
    """Send up to *end*, as far as the client's buffer takes it; the next offset."""
    while offset < end:
        before = offset
        offset = send_once(out, file, offset, end)
        if offset == before:
            break
    return offset
