"""Many files are made durable with few calls, and no error is lost."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.store import syncing
from hubsync.store.syncing import (
    SYNCFS_FROM_FILES,
    Watch,
    file_system_type,
    sync_files,
    sync_folders,
)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    fds = [
        os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT)
        for n in range(SYNCFS_FROM_FILES)
    ]
    yield fds
    for fd in fds:
        os.close(fd)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which descriptors were synced one by one."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path)
    watch.begin()
    yield watch
    watch.close()


def knows_syncfs(patch: pytest.MonkeyPatch, *, knows: bool) -> list[int]:
    calls: list[int] = []
    patch.setattr(syncing, "_knows_syncfs", lambda device: knows)
    patch.setattr(syncing, "_syncfs", calls.append)
    return calls


@pytest.mark.parametrize("few", [0, 1, 3, SYNCFS_FROM_FILES - 1])
def test_few_are_synced_one_by_one(
    files: list[int],
    synced: list[int],
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
    few: int,
) -> None:
    knows_syncfs(monkeypatch, knows=True)
    sync_files(files[:few], watch, 0)
    assert synced == files[:few]


def test_many_are_synced_with_one_call(
    files: list[int],
    synced: list[int],
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
) -> None:
    calls = knows_syncfs(monkeypatch, knows=True)
    sync_files(files, watch, 0)
    assert (calls, synced) == ([watch._fd], [])


def test_many_are_synced_one_by_one_where_syncfs_is_not_to_be_trusted(
    files: list[int],
    synced: list[int],
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
) -> None:
    calls = knows_syncfs(monkeypatch, knows=False)
    sync_files(files, watch, 0)
    assert (calls, synced) == ([], files)


def test_the_real_calls_accept_what_they_are_given(
    files: list[int], tmp_path: Path, watch: Watch
) -> None:
    sync_files(files, watch, 0)
    sync_files(files[:3], watch, 0)
    syncing._syncfs(files[0])
    folders = [tmp_path / f"d{n}" for n in range(SYNCFS_FROM_FILES)]
    for folder in folders:
        folder.mkdir()
    sync_folders(folders, watch, 0)
    sync_folders(folders[:2], watch, 0)


def test_an_error_of_syncfs_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        syncing._syncfs(-1)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("many", [3, SYNCFS_FROM_FILES])
def test_an_error_of_any_is_an_error_of_all(
    files: list[int], monkeypatch: pytest.MonkeyPatch, watch: Watch, many: int
) -> None:
    def fail(fd: int) -> None:
        if fd == files[many - 1]:
            raise OSError(errno.EIO, "Input/output error")

    knows_syncfs(monkeypatch, knows=False)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        sync_files(files[:many], watch, 0)


@pytest.mark.parametrize(
    ("release", "kind", "knows"),
    [
        ("6.1.0-13-amd64", "ext4", True),
        ("5.8.0", "xfs", True),
        ("5.7.19", "ext4", False),
        ("5.10-rc1+", "btrfs", True),
        ("6.1.0", "fuse.sshfs", False),
        ("6.1.0", "nfs4", False),
        ("6.1.0", "", False),
    ],
)
def test_only_kernels_and_file_systems_that_tell_errors_are_trusted(
    monkeypatch: pytest.MonkeyPatch, release: str, kind: str, knows: bool
) -> None:
    uname = os.uname()
    answer = os.uname_result((uname[0], uname[1], release, uname[3], uname[4]))
    monkeypatch.setattr(os, "uname", lambda: answer)
    monkeypatch.setattr(syncing, "file_system_type", lambda device: kind)
    assert syncing._knows_syncfs.__wrapped__(1) is knows


def test_the_kind_of_a_file_system_is_read_from_the_kernel() -> None:
    assert file_system_type(Path("/proc").stat().st_dev) == "proc"
    assert file_system_type(os.makedev(4095, 4095)) == ""


def test_a_watch_is_open_before_anything_is_written_and_stays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each description is told of an error once, if it was open by then."""
    watch, calls = Watch(tmp_path), knows_syncfs(monkeypatch, knows=True)
    watch.begin()
    fd = watch._fd
    for _ in range(2):
        watch.sync(watch.begin())
    assert calls == [fd, fd]
    watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)  # type: ignore[arg-type]


def test_an_error_that_one_group_was_told_of_is_an_error_of_those_beside_it(
    files: list[int], monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    """The kernel tells it once; it may have been another group's bytes."""
    before = watch.begin()
    knows_syncfs(monkeypatch, knows=True)
    with monkeypatch.context() as patch:
        patch.setattr(syncing, "_syncfs", fail)
        with pytest.raises(OSError, match="Input/output error"):
            sync_files(files, watch, before)
    with pytest.raises(OSError, match="an earlier sync failed"):
        sync_files(files, watch, before)
    sync_files(files, watch, watch.begin())


def fail(_: int) -> None:
    raise OSError(errno.EIO, "Input/output error")
