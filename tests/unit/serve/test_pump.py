"""Large bodies, moved by one thread."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import cast

import pytest

from hubsync.serve import pump as pump_module
from hubsync.serve.options import ServeOptions
from hubsync.serve.pagecache import PageCache
from hubsync.serve.pump import LOOK_BYTES, FileTruncatedError, Pump, Transfer, burst
from hubsync.serve.sendfile import Mover
from tests.unit.serve.mirror import WAIT_S, File, Mirror, serving

MIB = 2**20
CONTENT = Random(7).randbytes(LOOK_BYTES + 3 * MIB + 17)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    number = os.open(path, os.O_RDWR)
    yield number
    os.close(number)


@pytest.fixture
def pump() -> Iterator[Pump]:
    with ThreadPoolExecutor(2, "reader") as readers:
        made = Pump(readers, burst_bytes=MIB)
        yield made
        made.close()


class Client:
    """A connection, and who reads it, when told to, in a thread."""

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.near = socket.create_connection(listening.getsockname(), timeout=WAIT_S)
        self.out, _ = listening.accept()
        self.out.setblocking(False)
        listening.close()
        self.got = bytearray()

    def read(self, size: int) -> None:
        while len(self.got) < size:
            block = self.near.recv(min(MIB, size - len(self.got)))
            assert block, "it ended early"
            self.got += block

    def close(self) -> None:
        self.near.close()
        self.out.close()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made = [Client() for _ in range(20)]
    yield made
    for one in made:
        one.close()


def drop_from_memory(file: int) -> None:
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("cold", [False, True])
def test_each_client_gets_its_part(
    file: int, pump: Pump, clients: list[Client], *, cold: bool
) -> None:
    if cold:
        drop_from_memory(file)
    ends = [len(CONTENT) - 1000 * number for number in range(len(clients))]
    starts = [777 * number * number for number in range(len(clients))]

    async def send() -> None:
        reading = []
        for one, start, end in zip(clients, starts, ends, strict=True):
            pump.begin(transfer := Transfer(one.out.fileno(), file, start, end))
            reading += [transfer.done, asyncio.to_thread(one.read, end - start)]
        assert pump.count == len(clients)
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*reading)

    asyncio.run(send())
    for one, start, end in zip(clients, starts, ends, strict=True):
        assert bytes(one.got) == CONTENT[start:end]
    assert pump.count == 0


def test_who_takes_nothing_keeps_nobody(
    file: int, pump: Pump, clients: list[Client]
) -> None:
    *slow, quick = clients

    async def send() -> None:
        stuck = [Transfer(one.out.fileno(), file, 0, len(CONTENT)) for one in slow]
        for one in stuck:
            pump.begin(one)
        transfer = Transfer(quick.out.fileno(), file, 0, len(CONTENT))
        pump.begin(transfer)
        async with asyncio.timeout(WAIT_S):
            reading = asyncio.to_thread(quick.read, len(CONTENT))
            await asyncio.gather(transfer.done, reading)
            assert not any(one.done.done() for one in stuck)
            for one in stuck:
                pump.stop(one)
            await asyncio.gather(*(one.done for one in stuck))
        assert all(0 < one.offset < len(CONTENT) for one in stuck)

    asyncio.run(send())
    assert bytes(quick.got) == CONTENT


def test_what_was_stopped_sends_no_byte_more(
    file: int, pump: Pump, clients: list[Client]
) -> None:
    one = clients[0]

    async def send() -> Transfer:
        transfer = Transfer(one.out.fileno(), file, 0, len(CONTENT))
        pump.begin(transfer)
        pump.stop(transfer)
        pump.stop(transfer)
        await asyncio.wait_for(transfer.done, WAIT_S)
        return transfer

    transfer = asyncio.run(send())
    one.out.shutdown(socket.SHUT_WR)
    while block := one.near.recv(MIB):
        one.got += block
    assert bytes(one.got) == CONTENT[: transfer.offset]


def test_a_client_that_has_left(file: int, pump: Pump, clients: list[Client]) -> None:
    one = clients[0]

    async def send() -> None:
        transfer = Transfer(one.out.fileno(), file, 0, len(CONTENT))
        pump.begin(transfer)
        await asyncio.to_thread(one.read, MIB)
        one.near.close()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(transfer.done, WAIT_S)

    asyncio.run(send())


@pytest.mark.parametrize("cold", [False, True])
def test_a_file_that_ends_too_early(
    file: int, pump: Pump, clients: list[Client], *, cold: bool
) -> None:
    size = 2 * MIB
    os.ftruncate(file, size)
    if cold:
        drop_from_memory(file)
    one = clients[0]

    async def send() -> None:
        transfer = Transfer(one.out.fileno(), file, 0, len(CONTENT))
        pump.begin(transfer)
        async with asyncio.timeout(WAIT_S):
            await asyncio.to_thread(one.read, size)
            with pytest.raises(FileTruncatedError, match=f"no byte at {size}"):
                await transfer.done

    asyncio.run(send())
    assert bytes(one.got) == CONTENT[:size]


def test_the_thread_is_there_from_the_first_transfer_to_the_end(
    file: int, clients: list[Client]
) -> None:
    def threads() -> int:
        return sum(one.name == "sendfile" for one in threading.enumerate())

    before = threads()
    with ThreadPoolExecutor(1, "reader") as readers:
        pump = Pump(readers, burst_bytes=MIB)
        assert threads() == before

        async def send() -> None:
            pump.begin(one := Transfer(clients[0].out.fileno(), file, 0, 10))
            await asyncio.wait_for(one.done, WAIT_S)

        asyncio.run(send())
        assert threads() == before + 1
        pump.close()
        assert threads() == before
        pump = Pump(readers, burst_bytes=MIB)
        pump.close()  # of one that was never needed


class Open:
    """A transport that nobody closes."""

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("offset", [0, MIB])
def test_who_takes_nothing_is_dropped_after_the_time_for_it(
    file: int, offset: int
) -> None:
    """Wherever in the file the part begins that is not taken."""
    out, near = socket.socketpair()
    out.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            out.send(bytes(1000))

    async def send() -> float:
        mover, loop = Mover(ServeOptions(stall_s=0.5)), asyncio.get_running_loop()
        started = loop.time()
        transfer = Transfer(out.fileno(), file, offset, len(CONTENT))
        with pytest.raises(ConnectionError, match="takes no bytes"):
            await mover._pumped(cast("asyncio.Transport", Open()), transfer)
        mover.close()
        return loop.time() - started

    with out, near:
        assert asyncio.run(send()) < 0.9


class Disk:
    """One that gives nothing until *heals* is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.heals = threading.Event(), threading.Event()
        monkeypatch.setattr(PageCache, "has", lambda *_: False)
        monkeypatch.setattr(pump_module, "burst", self._burst)

    def _burst(self, out: int, file: int, offset: int, end: int) -> int:
        self.asked.set()
        assert self.heals.wait(WAIT_S)
        return burst(out, file, offset, end)


def test_who_waits_for_the_disk_hears_of_the_end(
    file: int, clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    readers = ThreadPoolExecutor(1, "reader")
    pump = Pump(readers, burst_bytes=MIB)

    async def send() -> list[BaseException | None]:
        going = [Transfer(one.out.fileno(), file, 0, 2 * MIB) for one in clients[:3]]
        for one in going:
            pump.begin(one)
        assert await asyncio.to_thread(disk.asked.wait, WAIT_S)
        pump.stop(going[0])
        threading.Timer(0.1, disk.heals.set).start()
        readers.shutdown(wait=True, cancel_futures=True)
        pump.close()
        async with asyncio.timeout(WAIT_S):
            ends = [one.done for one in going]
            return await asyncio.gather(*ends, return_exceptions=True)

    first, *others = asyncio.run(send())
    assert first is None
    assert all(isinstance(one, ConnectionError) for one in others)
    assert pump.count == 0


def test_a_server_ends_though_its_disk_has_kept_some_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    mirror.publish("a/b", {"big.bin": File(CONTENT, lfs=True)})
    disk = Disk(monkeypatch)
    asked = b"GET /a/b/resolve/main/big.bin HTTP/1.1\r\nHost: h\r\n\r\n"
    with (
        contextlib.ExitStack() as stack,
        serving(mirror, threads=1, drain_s=0.1) as live,
    ):
        for _ in range(3):
            one = socket.create_connection(live.address, timeout=WAIT_S)
            stack.enter_context(one)
            one.sendall(asked)
        assert disk.asked.wait(WAIT_S)
        live.get("/healthz")  # by now all of them wait
        threading.Timer(2.0, disk.heals.set).start()
    mirror.close()
