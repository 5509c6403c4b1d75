"""``python -m benchmarks.slow_clients URL COUNT SECONDS``: they read a little a second.

Each asks for all of URL.  Prints a line when all of them have their first bytes.
"""

import asyncio
import socket
import sys
from urllib.parse import urlsplit

BYTES_A_TURN = 65536
TURN_S = 0.1
WINDOW_BYTES = 65536


async def main(url: str, count: int, seconds: float) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    begun = asyncio.Semaphore(0)

    async def crawl() -> None:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        one.settimeout(0)
        with one:
            await loop.sock_connect(one, (parts.hostname, parts.port))
            await loop.sock_sendall(
                one,
                f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode(),
            )
            got = await loop.sock_recv(one, 4096)
            assert got.startswith(b"HTTP/1.1 200"), got[:100]
            begun.release()
            while loop.time() < until:
                assert await loop.sock_recv(one, BYTES_A_TURN), "the server hung up"
                await asyncio.sleep(TURN_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(crawl())
        for _ in range(count):
            await begun.acquire()
        print("begun", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
