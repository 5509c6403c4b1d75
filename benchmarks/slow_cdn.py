"""Files by ranges, slowly: so many bytes a second on each connection, from afar.

``python -m benchmarks.slow_cdn FOLDER RATE DELAY`` prints its port.  What a link
with a round trip of DELAY seconds does to a new connection and to each request
is done here by waiting; TCP's slow start is not done.
"""

import asyncio
import mmap
import re
import sys
from pathlib import Path

_TICK_S = 0.01
_BURST_S = 0.05  # of the rate: a link does not catch up on what nobody read
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)


class SlowCdn:
    """Answers GET and HEAD; nothing else is ever asked."""

    def __init__(self, folder: Path, rate: float, delay_s: float) -> None:
        self._folder, self._rate, self._delay = folder, rate, delay_s
        self._maps: dict[str, mmap.mmap] = {}

    async def handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await asyncio.sleep(self._delay)  # of the handshake
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self._delay)
                await self._answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        method, path = head.split(b" ", 2)[:2]
        data = self._map(path.decode().partition("?")[0])
        start, stop, status = 0, len(data), b"200 OK"
        lines = [b"Accept-Ranges: bytes", b'ETag: "one"']
        if found := _RANGE.search(head):
            start = int(found[1])
            stop = min(int(found[2]) + 1, stop) if found[2] else stop
            status = b"206 Partial Content"
            lines.append(
                b"Content-Range: bytes %d-%d/%d" % (start, stop - 1, len(data))
            )
        lines.append(b"Content-Length: %d" % (stop - start))
        writer.write(
            b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
        )
        if method == b"GET":
            await self._body(memoryview(data)[start:stop], writer)

    async def _body(self, data: memoryview, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        at, due, looked = 0, 0.0, clock()
        while at < len(data):
            await asyncio.sleep(_TICK_S)
            now = clock()
            due = min(due + (now - looked) * self._rate, self._rate * _BURST_S)
            looked = now
            stop = min(at + int(due), len(data))
            writer.write(data[at:stop])
            await writer.drain()
            due -= stop - at
            at = stop

    def _map(self, path: str) -> mmap.mmap:
        if path not in self._maps:
            with (self._folder / path.lstrip("/")).open("rb") as file:
                self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


async def main() -> None:
    folder, rate, delay = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    cdn = SlowCdn(folder, rate, delay)
    server = await asyncio.start_server(cdn.handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
