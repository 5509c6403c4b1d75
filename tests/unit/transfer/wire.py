"""A server that says what it is told to, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def serving(
    answer: bytes,
    certificate: tuple[Path, Path] | None = None,
    *,
    then_close: bool = False,
) -> AsyncIterator[Server]:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        server.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                server.requests += 1
                writer.write(answer)
                await writer.drain()
                if then_close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    theirs = None
    if certificate:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate[1], certificate[0])
    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=theirs)
    port = listening.sockets[0].getsockname()[1]
    server = Server(f"{'https' if theirs else 'http'}://127.0.0.1:{port}/")
    if certificate:
        server.context = ssl.create_default_context(cafile=str(certificate[1]))
    async with listening:
        yield server
