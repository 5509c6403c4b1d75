"""Taking a connection's bytes past aiohttp, and giving the connection back."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from hubsync.transfer.buffers import ASIDE_S, SLOW_S, Buffers, Pace
from hubsync.transfer.direct import TLS_BUFFER_BYTES, Direct
from hubsync.transfer.taken import can_take_over, come_already, is_plain
from tests.unit.transfer.wire import BODY, serving, whole

BLOCK = 65_536


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cert")
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 1"
    made += " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *made.split()], check=True, capture_output=True)
    return key, cert


Take = Callable[[memoryview], memoryview | None]


async def receive(
    response: aiohttp.ClientResponse,
    size: int,
    consume: Take | None = None,
    *,
    block: int = BLOCK,
) -> bytes:
    """The body, by `Direct`, with a consumer that is always ready if none is given."""
    found = [*come_already(response)]
    left = size - sum(map(len, found))

    def keep(block: memoryview) -> memoryview:
        found.append(bytes(block))
        return memoryview(block.obj)

    if left:
        direct = Direct(response, left, memoryview(bytearray(block)), consume or keep)
        direct.start()
        try:
            while (come := await direct.wait()) is not None:
                found.append(bytes(come))
                for _ in range(50):  # the other side goes on, or away
                    await asyncio.sleep(0)
                direct.go_on(memoryview(bytearray(block)))
        finally:
            found.append(bytes(direct.stop()))
    return b"".join(found)


@pytest.mark.parametrize("is_tls", [False, True])
def test_the_connection_is_good_for_the_next_request(
    certificate: tuple[Path, Path], is_tls: bool
) -> None:
    async def main() -> None:
        async with (
            serving(whole(), certificate if is_tls else None) as server,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(5):
                async with session.get(server.url, ssl=server.context or True) as one:
                    assert can_take_over(one, len(BODY))
                    assert await receive(one, len(BODY)) == BODY
            assert (server.connections, server.requests) == (1, 5)

    asyncio.run(main())


@pytest.mark.parametrize("is_tls", [False, True])
def test_who_has_no_room_is_waited_for_and_gets_every_byte_in_order(
    certificate: tuple[Path, Path], is_tls: bool
) -> None:
    async def main() -> None:
        async with (
            serving(whole(), certificate if is_tls else None) as server,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(2):
                async with session.get(server.url, ssl=server.context or True) as one:
                    got = await receive(one, len(BODY), lambda _: None)
                    assert got == BODY
            assert server.connections == 1

    asyncio.run(main())


def answer_and_close(
    listening: socket.socket, context: ssl.SSLContext, gone: threading.Event
) -> None:
    with context.wrap_socket(listening.accept()[0], server_side=True) as one:
        one.recv(65_536)
        one.sendall(whole(BODY[: 2 * TLS_BUFFER_BYTES]))
        one.shutdown(socket.SHUT_WR)
        gone.set()
        one.recv(1)  # until the other side has closed as well


def test_nothing_is_lost_when_the_other_side_closes_while_we_make_room(
    certificate: tuple[Path, Path],
) -> None:
    """asyncio's TLS drops what does not fit into one buffer then."""
    size = 2 * TLS_BUFFER_BYTES
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate[1], certificate[0])
    ours = ssl.create_default_context(cafile=str(certificate[1]))
    gone = threading.Event()

    async def main(port: int) -> bytes:
        url = f"https://127.0.0.1:{port}/"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=ours) as one,
        ):
            await asyncio.to_thread(gone.wait)
            block = TLS_BUFFER_BYTES + 1
            return await receive(one, size, lambda _: None, block=block)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(
            target=answer_and_close, args=(listening, theirs, gone), daemon=True
        )
        server.start()
        assert asyncio.run(main(listening.getsockname()[1])) == BODY[:size]
        server.join()


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_body_that_breaks_off_is_told_and_what_came_is_kept(
    certificate: tuple[Path, Path], is_tls: bool
) -> None:
    async def main() -> None:
        cut = whole()[: -len(BODY) // 2]
        got: list[bytes] = []

        def keep(block: memoryview) -> memoryview:
            got.append(bytes(block))
            return memoryview(block.obj)

        async with (
            serving(cut, certificate if is_tls else None, then_close=True) as server,
            aiohttp.ClientSession() as session,
            session.get(server.url, ssl=server.context or True) as one,
        ):
            got += come_already(one)
            left = len(BODY) - len(b"".join(got))
            direct = Direct(one, left, memoryview(bytearray(BLOCK)), keep)
            direct.start()
            with pytest.raises(OSError, match="closed"):
                await direct.wait()
            got.append(bytes(direct.stop()))
        came = b"".join(got)
        assert came == BODY[: len(came)]
        assert len(came) == len(cut) - len(whole(b"")) - len(str(len(BODY))) + 1

    asyncio.run(main())


@pytest.mark.parametrize("is_tls", [False, True])
def test_what_the_consumer_raises_comes_out_where_one_waits(
    certificate: tuple[Path, Path], is_tls: bool
) -> None:
    """And what goes on coming, until somebody is awake, is no error of its own."""
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))

        def refuse(block: memoryview) -> memoryview:
            raise ValueError(f"{len(block)} bytes of no use")

        async with (
            serving(whole(), certificate if is_tls else None) as server,
            aiohttp.ClientSession() as session,
            session.get(server.url, ssl=server.context or True) as one,
        ):
            left = len(BODY) - sum(map(len, come_already(one)))
            direct = Direct(one, left, memoryview(bytearray(BLOCK)), refuse)
            direct.start()
            for _ in range(100):  # turns in which more could be read
                await asyncio.sleep(0)
            with pytest.raises(ValueError, match="of no use"):
                await direct.wait()
            assert not direct.stop(), "it was consumed, as far as it could be"
            assert complaints == []

    asyncio.run(main())


@pytest.mark.parametrize("block", [BLOCK, len(BODY) + 1])
def test_bytes_behind_the_body_are_no_part_of_it_and_end_the_connection(
    block: int,
) -> None:
    """Also where the body ends with a buffer."""

    async def main() -> None:
        async with (
            serving(whole(more=b"HTTP/1.1 200 OK\r\n\r\nsmuggled")) as server,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(3):
                async with session.get(server.url) as one:
                    assert await receive(one, len(BODY), block=block) == BODY
            assert server.connections == server.requests == 3

    asyncio.run(main())


def test_bodies_that_are_more_than_their_bytes_are_left_to_aiohttp() -> None:
    async def main() -> None:
        chunk = b"5\r\nhello\r\n0\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with (
            serving(head + chunk) as server,
            aiohttp.ClientSession() as session,
            session.get(server.url) as one,
        ):
            assert not can_take_over(one, 5)

    asyncio.run(main())


def test_a_proxy_behind_tls_is_not_plain_whatever_the_address(
    certificate: tuple[Path, Path],
) -> None:
    """The kernel would move what is encrypted."""

    async def main() -> None:
        async with (
            serving(whole()) as plain,
            serving(whole(), certificate) as proxy,
            aiohttp.ClientSession() as session,
        ):
            assert proxy.context
            async with session.get(plain.url) as one:
                assert is_plain(one)
            by_proxy = session.get(
                "http://far.example/", proxy=proxy.url, ssl=proxy.context
            )
            async with by_proxy as one:
                assert can_take_over(one, len(BODY))
                assert not is_plain(one)
                assert await receive(one, len(BODY), block=TLS_BUFFER_BYTES) == BODY

    asyncio.run(main())


def test_a_length_that_was_not_expected_is_left_to_aiohttp() -> None:
    async def main() -> None:
        async with (
            serving(whole()) as server,
            aiohttp.ClientSession() as session,
            session.get(server.url) as one,
        ):
            assert can_take_over(one, len(BODY))
            assert not can_take_over(one, len(BODY) - 1)

    asyncio.run(main())


def test_a_slow_disk_is_written_to_aside_for_a_while() -> None:
    pace = Pace()
    assert pace.may_write(100.0)
    pace.wrote(100.0, 100.0 + SLOW_S / 2)
    assert pace.may_write(100.1)
    pace.wrote(100.0, 100.0 + 2 * SLOW_S)
    assert not pace.may_write(100.0 + ASIDE_S)
    assert pace.may_write(101.0 + ASIDE_S)


def test_a_buffer_comes_back_whole() -> None:
    buffers = Buffers(BLOCK)
    one, other = buffers.take(), buffers.take()
    assert one.obj is not other.obj
    buffers.give(one[: BLOCK // 2])
    assert len(again := buffers.take()) == BLOCK + 1
    assert again.obj is one.obj
