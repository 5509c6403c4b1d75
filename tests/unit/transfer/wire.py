"""A server that says what it is told to, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SIZE = 3_000_000
BODY = bytes(range(256)) * (SIZE // 256) + b"end"


@dataclass
class Server:
    """Answers each request with what *answer* makes of the head; counts callers."""

    url: str
    context: ssl.SSLContext | None = None
    connections: int = 0
    requests: int = 0


def whole(body: bytes = BODY, more: bytes = b"") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + more


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    talk: Talk, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port at which *talk* answers; no connection outlives this."""
    talking: set[asyncio.Task[None]] = set()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        talking.add(task)
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            talking.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for task in talking:
        task.cancel()
    await asyncio.gather(*talking, return_exceptions=True)


@asynccontextmanager
async def serving(
    answer: bytes,
    certificate: tuple[Path, Path] | None = None,
    *,
    then_close: bool = False,
) -> AsyncIterator[Server]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            server.requests += 1
            writer.write(answer)
            await writer.drain()
            if then_close:
                break

    theirs = None
    if certificate:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate[1], certificate[0])
    async with listening(talk, theirs) as port:
        server = Server(f"{'https' if theirs else 'http'}://127.0.0.1:{port}/")
        if certificate:
            server.context = ssl.create_default_context(cafile=str(certificate[1]))
        yield server
