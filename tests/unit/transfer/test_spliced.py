"""Bodies that the kernel moves from a connection into a file."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from hubsync.store.writing import move_all
from hubsync.transfer.pipes import Pipe, Piped, Pipes
from hubsync.transfer.spliced import Spliced, can_splice
from hubsync.transfer.taken import come_already
from tests.unit.transfer.wire import BODY, SIZE, listening, serving, whole

pytestmark = pytest.mark.skipif(not can_splice(), reason="this system has no splice")

Take = Callable[[Piped | memoryview], bool]


class Receiver:
    """Collects what comes, in order, from pipes and from buffers."""

    def __init__(self) -> None:
        self.pipes = Pipes()
        self.found: list[bytes] = []
        self.copied = 0  # of it, what came in a buffer
        self.held: Piped | memoryview | None = None

    def keep(self, come: Piped | memoryview) -> bool:
        if isinstance(come, Piped):
            self.found.append(os.read(come.pipe.out, len(come)))
            self.pipes.give(come.pipe)
        else:
            self.found.append(bytes(come))
            self.copied += len(come)
        return True

    def hold(self, come: Piped | memoryview) -> bool:
        assert self.held is None, "it was told to wait"
        self.held = come
        return False

    @property
    def body(self) -> bytes:
        return b"".join(self.found)

    async def receive(
        self, response: aiohttp.ClientResponse, size: int, consume: Take | None = None
    ) -> None:
        self.found += come_already(response)
        left = size - len(self.body)
        buffer = memoryview(bytearray(65_536))
        spliced = Spliced(response, left, buffer, self.pipes, consume or self.keep)
        spliced.start()
        try:
            while await spliced.wait():
                for _ in range(50):  # the other side goes on, or away
                    await asyncio.sleep(0)
                assert self.held is not None
                self.keep(self.held)
                self.held = None
                spliced.go_on()
        finally:
            spliced.stop()


def run(
    answer: bytes,
    *,
    times: int = 1,
    size: int = len(BODY),
    consume: Callable[[Receiver], Take] | None = None,
    then_close: bool = False,
) -> tuple[Receiver, int]:
    """Ask *times* times; what came last, and how many connections it took."""

    async def main() -> tuple[Receiver, int]:
        async with (
            serving(answer, then_close=then_close) as server,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(times):
                receiver = receivers[0] = Receiver()
                async with session.get(server.url) as one:
                    await receiver.receive(
                        one, size, consume(receiver) if consume else None
                    )
                receiver.pipes.close()
            return receivers[0], server.connections

    return asyncio.run(main())


receivers: dict[int, Receiver] = {}  # the last, also when it ends with an error


def test_the_connection_is_good_for_the_next_request() -> None:
    receiver, connections = run(whole(), times=5)
    assert receiver.body == BODY
    assert connections == 1


@pytest.mark.parametrize("then_close", [False, True])
def test_who_has_no_time_is_waited_for_and_gets_every_byte_in_order(
    then_close: bool,
) -> None:
    receiver, _ = run(whole(), consume=lambda one: one.hold, then_close=then_close)
    assert receiver.body == BODY


def test_a_body_that_breaks_off_is_told_and_what_came_is_kept() -> None:
    cut = whole()[: -len(BODY) // 2]
    with pytest.raises(OSError, match="closed"):
        run(cut, then_close=True)
    came = receivers[0].body
    assert came == BODY[: len(came)]
    assert len(came) == len(cut) - (len(whole()) - len(BODY))


def test_what_the_consumer_raises_comes_out_where_one_waits() -> None:
    def refusing(receiver: Receiver) -> Take:
        def refuse(come: Piped | memoryview) -> bool:
            raise ValueError(f"{len(come)} bytes of no use")

        return refuse

    with pytest.raises(ValueError, match="of no use"):
        run(whole(), consume=refusing)


def test_bytes_behind_the_body_are_no_part_of_it_and_end_the_connection() -> None:
    receiver, connections = run(whole(more=b"HTTP/1.1 200 OK\r\n\r\nsmuggled"), times=3)
    assert receiver.body == BODY
    assert connections == 3


def test_what_begins_with_zeros_comes_in_a_buffer() -> None:
    body = b"a" * SIZE + bytes(SIZE) + b"z" * SIZE
    receiver, _ = run(whole(body), size=len(body))
    assert receiver.body == body
    assert receiver.copied >= SIZE // 2
    assert receiver.copied < 2 * SIZE


def test_a_slow_line_wakes_us_for_much_or_now_and_then() -> None:
    """Not for each crumb: that would cost more than all else."""
    crumbs = 600
    taken: list[int] = []

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        step = len(BODY) // crumbs + 1
        for start in range(0, len(BODY), step):
            writer.write(BODY[start : start + step])
            await writer.drain()
            await asyncio.sleep(0.0005)

    async def main() -> bytes:
        receiver = Receiver()

        def count(come: Piped | memoryview) -> bool:
            taken.append(len(come))
            return receiver.keep(come)

        async with (
            listening(answer) as port,
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as one,
        ):
            await receiver.receive(one, len(BODY), count)
        return receiver.body

    assert asyncio.run(main()) == BODY
    assert len(taken) < crumbs // 10


def test_what_is_there_can_be_had_before_it_is_much() -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await writer.drain()
        await begun.wait()
        writer.write(b"some")
        await writer.drain()
        await over.wait()

    async def main() -> None:
        receiver = Receiver()
        buffer = memoryview(bytearray(65_536))
        async with (
            listening(answer) as port,
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as one,
        ):
            spliced = Spliced(one, 1_000_000, buffer, receiver.pipes, receiver.keep)
            spliced.start()
            begun.set()
            while not receiver.found:
                spliced.flush()
                await asyncio.sleep(0)
            assert receiver.body == b"some"
            over.set()
            with pytest.raises(OSError, match="closed"):
                await spliced.wait()
            spliced.stop()

    asyncio.run(main())


def test_a_file_that_takes_nothing_from_a_pipe_gets_it_all_the_same(
    tmp_path: Path,
) -> None:
    """The kernel refuses to splice into a file that is only appended to."""
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    source = os.open(__file__, os.O_RDONLY)
    pipe = Pipe()
    data = Path(__file__).read_bytes()
    try:
        piped = pipe.fill(source, len(data))
        assert len(piped) == len(data)
        with pytest.raises(OSError, match="Invalid argument"):
            os.splice(pipe.out, fd, len(data), offset_dst=0)
        move_all(pipe.out, fd, 0, len(data))
    finally:
        os.close(fd)
        os.close(source)
        pipe.close()
    assert (tmp_path / "file").read_bytes() == data
