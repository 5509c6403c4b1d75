"""What is verified is published, together with what came meanwhile; or let go."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hubsync.model.digest import Digest
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.store.ingest import LocalIngest
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.transfer import groups as groups_module
from hubsync.transfer.fetch import Publisher
from hubsync.transfer.groups import Groups
from tests.contract.made import by_digest
from tests.unit.transfer.fetching import Watcher


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))


def verified(blobs: LocalBlobs, number: int) -> LocalIngest:
    data = b"blob %d" % number
    ingest = blobs.begin(by_digest(data))
    assert isinstance(ingest, LocalIngest)
    ingest.write(data)
    ingest.verify()
    return ingest


def is_held_by_somebody(blobs: LocalBlobs, number: int) -> bool:
    ingest = blobs.begin(by_digest(b"blob %d" % number), wait=False)
    if isinstance(ingest, LocalIngest):
        ingest.abort()
    return ingest is None


class Published:
    """The groups that came; the first one takes as long as the test wants."""

    def __init__(self, publish: Callable[[Sequence[Ingest]], None]) -> None:
        self._publish = publish
        self.groups: list[int] = []
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, group: Sequence[Ingest | HeldBlob]) -> None:
        self.groups.append(len(group))
        self.began.set()
        assert self.go.wait(20)
        self._publish([one for one in group if not isinstance(one, HeldBlob)])


def groups_of(publish: Publisher, watcher: Watcher, open_max: int = 99) -> Groups:
    return Groups(publish, watcher, open_max=open_max)


def test_what_comes_while_one_is_published_is_the_next_group(
    blobs: LocalBlobs,
) -> None:
    published, watcher = Published(blobs.publish), Watcher()

    async def run() -> None:
        groups = groups_of(published, watcher)
        running = asyncio.create_task(groups.run())
        groups.add("0", verified(blobs, 0))
        await asyncio.to_thread(published.began.wait, 20)
        for number in range(1, 6):
            groups.add(str(number), verified(blobs, number))
        groups.add("held", HeldBlob(Digest.of(b"x"), 1))
        published.go.set()
        groups.close()
        await running

    asyncio.run(run())
    assert published.groups == [1, 6]
    assert sorted(watcher.done) == ["0", "1", "2", "3", "4", "5", "held"]
    assert len(list(blobs.digests())) == 6


def test_no_group_is_larger_than_is_good_for_the_first_in_it(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups_module, "GROUP_MAX", 4)
    published = Published(blobs.publish)
    published.go.set()

    async def run() -> None:
        groups = groups_of(published, Watcher())
        for number in range(10):
            groups.add(str(number), verified(blobs, number))
        groups.close()
        await groups.run()

    asyncio.run(run())
    assert published.groups == [4, 4, 2]


def test_a_publisher_that_fails_before_it_begins_lets_go_all_the_same(
    blobs: LocalBlobs,
) -> None:
    """It may have lost its lease: the bytes are good, and somebody goes on."""

    def fail(group: Sequence[Ingest | HeldBlob]) -> None:
        raise RuntimeError("the lease is lost")

    async def run() -> None:
        watcher = Watcher()
        groups = groups_of(fail, watcher)
        groups.add("0", verified(blobs, 0))
        with pytest.raises(RuntimeError, match="lease"):
            await groups.run()
        groups.add("1", verified(blobs, 1))
        groups.abandon()
        assert watcher.done == []

    asyncio.run(run())
    assert not is_held_by_somebody(blobs, 0)
    assert not is_held_by_somebody(blobs, 1)
    assert blobs.partial_bytes(by_digest(b"blob 0")) == len(b"blob 0"), "it is kept"


def test_a_group_on_its_way_is_waited_for_when_cancelled(blobs: LocalBlobs) -> None:
    published, watcher = Published(blobs.publish), Watcher()

    async def run() -> None:
        groups = groups_of(published, watcher)
        running = asyncio.create_task(groups.run())
        groups.add("0", verified(blobs, 0))
        await asyncio.to_thread(published.began.wait, 20)
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done(), "a thread cannot be stopped"
        published.go.set()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(run())
    assert len(list(blobs.digests())) == 1


def test_there_is_room_for_so_many_and_no_more(blobs: LocalBlobs) -> None:
    published = Published(blobs.publish)
    published.go.set()

    async def run() -> None:
        groups = groups_of(published, Watcher(), open_max=2)
        await groups.room()
        await groups.room()
        third = asyncio.create_task(groups.room())
        await asyncio.sleep(0)
        assert not third.done()
        groups.leave()
        await asyncio.wait_for(third, 20)
        fourth = asyncio.create_task(groups.room())
        running = asyncio.create_task(groups.run())
        groups.add("0", verified(blobs, 0))
        await asyncio.wait_for(fourth, 20)
        groups.close()
        await running

    asyncio.run(run())
