"""Messages between processes of ours, and open files with them.

Over one end of a `socket.socketpair`: nobody else can connect to it, so what comes
may be unpickled.
"""

import asyncio
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

_HEAD = struct.Struct("!I?")  # bytes that follow, whether a descriptor came along
_READ_BYTES = 64 * 1024
_FILES_MAX = 64  # that one read can bring


class _Parcel(NamedTuple):
    data: bytes
    file: int | None
    sent: asyncio.Future[None]


class Channel:
    """One end.  Lives in one event loop."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._end = end
        self._parcels: deque[_Parcel] = deque()
        self._more = asyncio.Event()
        self._gone = False
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """End it; what was not sent is not."""
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._end.close()

    def post(self, message: object, file: int | None = None) -> asyncio.Future[None]:
        """Send *message*; done when the system has taken it, or nobody will.

        *file* is a descriptor, which is the channel's from now on.
        """
        data = pickle.dumps(message)
        frame = _HEAD.pack(len(data), file is not None) + data
        sent = asyncio.get_running_loop().create_future()
        self._parcels.append(_Parcel(frame, file, sent))
        if self._gone:
            self._drop_all()
        self._more.set()
        return sent

    async def messages(self) -> AsyncIterator[tuple[object, int | None]]:
        """What the other end sends, until it is gone; descriptors are the caller's."""
        buffer, files = bytearray(), deque[int]()
        try:
            while data := await self._read(files):
                buffer += data
                while len(buffer) >= _HEAD.size:
                    length, has_file = _HEAD.unpack_from(buffer)
                    stop = _HEAD.size + length
                    if len(buffer) < stop:
                        break
                    body = bytes(buffer[_HEAD.size : stop])
                    del buffer[:stop]
                    # It came with the first byte, or before.
                    file = files.popleft() if has_file else None
                    yield pickle.loads(body), file  # noqa: S301 - from ourselves
        finally:
            for file in files:
                os.close(file)

    async def _read(self, files: deque[int]) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, got, _, _ = socket.recv_fds(self._end, _READ_BYTES, _FILES_MAX)
            except BlockingIOError:
                await _turn(loop.add_reader, loop.remove_reader, self._end)
            except ConnectionError:
                return b""
            else:
                for file in got:
                    os.set_inheritable(file, False)  # noqa: FBT003 - takes no keyword
                files.extend(got)
                return data

    async def _write(self) -> None:
        try:
            while True:
                while self._parcels:
                    await self._send(self._parcels[0])
                    self._drop(self._parcels.popleft())
                self._more.clear()
                await self._more.wait()
        except ConnectionError:
            return  # `messages` ends by it, too
        finally:
            self._gone = True
            self._drop_all()

    async def _send(self, parcel: _Parcel) -> None:
        loop = asyncio.get_running_loop()
        rest = memoryview(parcel.data)
        files = [] if parcel.file is None else [parcel.file]
        while rest:
            try:
                rest = rest[socket.send_fds(self._end, [rest], files) :]
                files = []
            except BlockingIOError:
                await _turn(loop.add_writer, loop.remove_writer, self._end)

    def _drop_all(self) -> None:
        while self._parcels:
            self._drop(self._parcels.popleft())

    @staticmethod
    def _drop(parcel: _Parcel) -> None:
        if parcel.file is not None:
            os.close(parcel.file)
        if not parcel.sent.done():
            parcel.sent.set_result(None)


async def _turn(
    add: Callable[..., object], remove: Callable[..., object], end: socket.socket
) -> None:
    """Wait until *end* can be read, or written."""
    ready = asyncio.Event()
    add(end, ready.set)
    try:
        await ready.wait()
    finally:
        remove(end)
