"""A group is published whole, or nothing of it can be seen."""

import errno
import os
import threading
from pathlib import Path

import pytest

from hubsync.model.errors import HubsyncError
from hubsync.ports.blobs import HeldBlob, NoRoomError
from hubsync.store import groups as groups_module
from hubsync.store import shelf as shelf_module
from hubsync.store import syncing
from hubsync.store.disk import StoreIOError
from hubsync.store.ingest import LocalIngest
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.contract.made import by_digest, by_oid, fill, read

MANY = [b"blob number %d" % n for n in range(20)]
HELD = b"held before"


def verified(blobs: LocalBlobs, data: bytes, *, by_name: bool = False) -> LocalIngest:
    ingest = blobs.begin(by_oid(data) if by_name else by_digest(data))
    assert isinstance(ingest, LocalIngest)
    ingest.write(data)
    ingest.verify()
    return ingest


def group_with_a_held_one(blobs: LocalBlobs) -> list[LocalIngest]:
    fill(blobs, by_digest(HELD), HELD)
    # Under its other name it is found to be held only when it is published.
    held = verified(blobs, HELD, by_name=True)
    fresh = [verified(blobs, data) for data in MANY]
    return [*fresh[:10], held, *fresh[10:]]


def assert_nothing_of_it_is_there(blobs: LocalBlobs) -> None:
    assert {digest.hex for digest in blobs.digests()} == {by_digest(HELD).digest.hex}  # type: ignore[union-attr]
    assert read(blobs, next(iter(blobs.digests()))) == HELD
    fill(blobs, by_oid(HELD), HELD)
    for data in MANY:
        assert fill(blobs, by_digest(data), data).size_bytes == len(data)
    assert not list(blobs.root.partial.iterdir())


def fail(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("step", ["sync_files", "sync_folders"])
def test_a_disk_that_fails_at_any_sync_leaves_nothing_of_it(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    group = group_with_a_held_one(blobs)
    module = groups_module if step == "sync_files" else shelf_module
    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with pytest.raises(StoreIOError, match="Input/output"):
            blobs.publish(group)

    assert_nothing_of_it_is_there(blobs)


@pytest.mark.parametrize("at", [1, 5, len(MANY)])
def test_a_rename_that_fails_leaves_nothing_of_it(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    group = group_with_a_held_one(blobs)
    calls: list[Path] = []
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(NoRoomError):
            blobs.publish(group)

    assert_nothing_of_it_is_there(blobs)


def test_after_a_failed_sync_the_bytes_are_not_believed_a_second_time(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped them and says yes the next time."""
    group = [verified(blobs, data) for data in MANY]
    with monkeypatch.context() as patch:
        patch.setattr(groups_module, "sync_files", fail)
        with pytest.raises(StoreIOError):
            blobs.publish(group)

    assert [blobs.partial_bytes(by_digest(data)) for data in MANY] == [0] * len(MANY)


def test_what_was_written_beside_a_group_that_failed_is_not_believed(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """syncfs tells of an error once, to whichever group asks first."""
    monkeypatch.setattr(syncing, "_knows_syncfs", lambda _: True)
    one = [verified(blobs, data) for data in MANY]
    two = [verified(blobs, b"beside " + data) for data in MANY]
    with monkeypatch.context() as patch:
        patch.setattr(syncing, "_syncfs", fail)
        with pytest.raises(StoreIOError):
            blobs.publish(one)
    with pytest.raises(StoreIOError):
        blobs.publish(two)
    assert not list(blobs.digests())
    blobs.publish([verified(blobs, data) for data in MANY])
    assert len(list(blobs.digests())) == len(MANY)


def test_what_an_earlier_process_wrote_is_synced_by_itself(
    root: StoreRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written before this one watched the file system."""
    monkeypatch.setattr(syncing, "_knows_syncfs", lambda _: True)
    earlier, data = LocalBlobs(root), MANY[0]
    begun = earlier.begin(by_digest(data))
    assert isinstance(begun, LocalIngest)
    begun.write(data[:5])
    begun.abort()
    blobs = LocalBlobs(root)
    synced: list[int] = []
    group = [verified(blobs, other) for other in MANY[1:]]
    resumed = blobs.begin(by_digest(data))
    assert isinstance(resumed, LocalIngest)
    resumed.write(data[5:])
    resumed.verify()
    inode = resumed.path.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        blobs.publish([*group, resumed])
    assert inode in synced


def test_who_finds_one_on_its_way_waits_until_it_is_sure(
    root: StoreRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its name, and the disk fails then: nobody may have counted on it."""
    blobs, other = LocalBlobs(root), LocalBlobs(root)
    data = MANY[0]
    want = by_digest(data)
    found: list[object] = []
    asking = threading.Thread(target=lambda: found.append(other.begin(want)))

    def sync_folders(*_: object) -> None:
        assert blobs.path(want.digest).exists()  # type: ignore[arg-type]
        asking.start()
        asking.join(0.2)
        assert asking.is_alive(), "it waits"
        fail()

    with monkeypatch.context() as patch:
        patch.setattr(shelf_module, "sync_folders", sync_folders)
        with pytest.raises(StoreIOError):
            blobs.publish([verified(blobs, data)])
    asking.join(20)

    assert isinstance(found[0], LocalIngest), "and then has it to bring in"
    found[0].write(data[found[0].offset :])
    assert found[0].complete() == HeldBlob(want.digest, len(data))  # type: ignore[arg-type]


def test_all_let_go_of_their_locks(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted

    fill(blobs, by_digest(HELD), HELD)  # from now on it watches the file system
    before = descriptors()
    blobs.publish([verified(blobs, data) for data in MANY[:5]])
    with monkeypatch.context() as patch:
        patch.setattr(groups_module, "sync_files", fail)
        with pytest.raises(HubsyncError):
            blobs.publish([verified(blobs, data) for data in MANY[5:]])

    assert descriptors() == before
    blobs.close()
    assert descriptors() == before - 1
