"""Messages and open files come over as they were sent, in their order."""

import asyncio
import os
import pickle
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hubsync.model.digest import Digest
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.ports.blobs import BlobNotFoundError
from hubsync.ports.hub import UnavailableError
from hubsync.sync.channel import Channel
from hubsync.sync.incoming import StartedOverError


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Channel, Channel]]:
    left, right = map(Channel, socket.socketpair())
    try:
        yield left, right
    finally:
        await left.close()
        await right.close()


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_messages_of_any_size_come_in_order() -> None:
    sizes = [0, 1, 65_531, 65_536, 3_000_000, 5]

    async def run() -> list[int]:
        async with two() as (left, right):
            for size in sizes:
                left.post(b"x" * size)
            got = []
            async for message, file in right.messages():
                assert isinstance(message, bytes)
                assert file is None
                got.append(len(message))
                if len(got) == len(sizes):
                    break
            return got

    assert asyncio.run(run()) == sizes


def test_each_file_comes_with_its_own_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with two() as (left, right):
            for number in range(200):  # more than one read can bring
                path = tmp_path / str(number)
                path.write_text(str(number))
                file = os.open(path, os.O_RDONLY) if number % 3 else None
                left.post(number, file)
            seen = 0
            async for message, got in right.messages():
                assert message == seen
                assert (got is None) == (seen % 3 == 0)
                if got is not None:
                    assert os.read(got, 99) == str(seen).encode()
                    assert not os.get_inheritable(got)
                    os.close(got)
                seen += 1
                if seen == 200:
                    break

    before = open_files()
    asyncio.run(run())
    assert open_files() == before


def test_who_waits_hears_that_the_other_end_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with two() as (left, right):
            await left.close()
            assert [one async for one in right.messages()] == []
            # And what nobody will read is let go, with its file.
            for _ in range(3):
                file = os.open(tmp_path, os.O_RDONLY)
                await asyncio.wait_for(right.post("to nobody", file), 20)

    before = open_files()
    asyncio.run(run())
    assert open_files() == before


def test_who_leaves_while_he_sends_breaks_nothing() -> None:
    """A request that is given up: half a message would end all the others."""

    async def run() -> None:
        async with two() as (left, right):
            sending = asyncio.ensure_future(left.post(b"x" * 5_000_000))
            await asyncio.sleep(0)
            sending.cancel()
            left.post("next")
            got = []
            async for message, _ in right.messages():
                got.append(message)
                if message == "next":
                    break
            assert len(got) == 2

    asyncio.run(run())


def test_errors_come_as_what_they_are() -> None:
    async def run() -> object:
        async with two() as (left, right):
            left.post(UnavailableError("down", hint="wait", retry_after_s=7.0))
            message, _ = await anext(aiter(right.messages()))
            return message

    message = asyncio.run(run())
    assert isinstance(message, UnavailableError)
    assert (str(message), message.hint, message.retry_after_s) == ("down", "wait", 7.0)


def test_every_error_of_ours_can_be_sent() -> None:
    for error in (StartedOverError(), BlobNotFoundError(Digest.of(b"x"))):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.exit_code == error.exit_code
    plain = HubsyncError("x")
    plain.exit_code = ExitCode.BUSY
    assert pickle.loads(pickle.dumps(plain)).exit_code is ExitCode.BUSY
