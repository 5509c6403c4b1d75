"""Large bodies: whole, in ranges, to many at once, over TLS."""

import asyncio
import hashlib
import random
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hubsync.serve.app import create_app
from hubsync.serve.files import INLINE_BYTES_MAX
from hubsync.serve.options import ServeOptions
from tests.unit.serve.mirror import File, Live, Mirror, serving

MIB = 2**20
DATA = random.Random(7).randbytes(24 * MIB + 12_345)
TARGET = "/a/b/resolve/main/big.bin"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path_factory.mktemp("big"))
    mirror.publish("a/b", {"big.bin": File(DATA, lfs=True)})
    yield mirror
    mirror.close()


@pytest.fixture(scope="module")
def live(big: Mirror) -> Iterator[Live]:
    with serving(big, burst_bytes=MIB) as live:
        yield live


def test_many_ranged_readers_at_once_put_the_file_together(live: Live) -> None:
    """Different pieces to each, all at once: nobody gets another's bytes."""

    def whole(number: int) -> str:
        piece = 1_500_000 + 400_000 * number
        digest = hashlib.sha256()
        for start in range(0, len(DATA), piece):
            answer = live.get(TARGET, Range=f"bytes={start}-{start + piece - 1}")
            assert answer.status == 206
            digest.update(answer.body)
        return digest.hexdigest()

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(whole, range(6)))
    assert found == {hashlib.sha256(DATA).hexdigest()}


def test_one_connection_carries_many_bodies(live: Live) -> None:
    """What goes past aiohttp's own writer does not confuse the next answer."""

    async def read() -> None:
        async with aiohttp.ClientSession(live.url) as session:
            for number in range(20):
                start = number * MIB
                header = {"Range": f"bytes={start}-{start + 3 * MIB - 1}"}
                async with session.get(TARGET, headers=header) as answer:
                    assert await answer.read() == DATA[start : start + 3 * MIB]
                async with session.head(TARGET) as answer:
                    assert answer.headers["Content-Length"] == str(len(DATA))
                async with session.get("/healthz") as answer:
                    assert (await answer.json())["status"] == "ok"

    asyncio.run(read())


@pytest.mark.parametrize("size", [INLINE_BYTES_MAX + more for more in (-1, 0, 1)])
def test_around_the_size_that_is_read_at_once(live: Live, size: int) -> None:
    answer = live.get(TARGET, Range=f"bytes=77-{77 + size - 1}")
    assert answer.body == DATA[77 : 77 + size]


def test_a_client_may_read_slowly(live: Live) -> None:
    async def read() -> bytes:
        reader, writer = await asyncio.open_connection(*live.address, limit=65536)
        writer.write(f"GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        blocks = []
        left = len(DATA)
        while left:
            # Hardly any room to receive in: the server's socket is mostly full.
            blocks.append(await reader.read(min(left, 65536)))
            left -= len(blocks[-1])
        writer.close()
        return b"".join(blocks)

    assert asyncio.run(read()) == DATA


def test_over_tls(big: Mirror, tmp_path: Path) -> None:
    """sendfile would write plain text there."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(cert, key)
    ours = ssl.create_default_context(cafile=str(cert))

    async def read() -> bytes:
        runner = web.AppRunner(create_app(big.library(), ServeOptions()))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "localhost", 0, ssl_context=theirs)
            await site.start()
            url = f"https://localhost:{runner.addresses[0][1]}{TARGET}"
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, ssl=ours) as answer,
            ):
                assert answer.status == 200
                return await answer.read()
        finally:
            await runner.cleanup()

    assert asyncio.run(read()) == DATA
