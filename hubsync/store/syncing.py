"""Making many files durable with few waits for the disk."""

import ctypes
import errno
import functools
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from hubsync.store.disk import sync_folder

SYNCFS_FROM_FILES = 16
# Where syncfs is known to wait for the data of every file.  On FUSE it need not
# reach the server's disk, and elsewhere nobody has looked.
_SYNCFS_TYPES = frozenset({"btrfs", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
_SYNCFS_TELLS_ERRORS = (5, 8)  # kernel; before that it always says yes
_SYNC_FILE_RANGE_WRITE = 2


class Watch:
    """A file system under watch since before the first byte was written to it.

    syncfs tells an error to every description that was open when it happened, once
    each; to one that is opened later only if nobody has been told.  So there is one,
    opened early.  It serves all groups, and whoever is told of an error is told for
    the others as well: hence the count.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._closing: Callable[[], object] | None = None
        self._failures = 0

    def begin(self) -> int:
        """Before a file is written: what to give to `sync` for it.

        Raises:
            OSError: the folder cannot be opened.
        """
        with self._lock:
            if self._fd is None:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                self._fd = os.open(self._folder, flags)
                self._closing = weakref.finalize(self, os.close, self._fd)
            return self._failures

    def sync(self, since: int) -> None:
        """Make everything durable that was written since `begin` gave *since*.

        Raises:
            OSError: as `sync_files`, also when another group was told of it.
        """
        with self._lock:
            assert self._fd is not None, "what is synced was begun"
            try:
                _syncfs(self._fd)
            except OSError:
                self._failures += 1
                raise
            if self._failures != since:
                raise OSError(errno.EIO, "an earlier sync failed", str(self._folder))

    def close(self) -> None:
        """Let go of the file system, which could not be unmounted else."""
        if self._closing is not None:
            self._closing()
            self._closing = self._fd = None


def sync_files(fds: Sequence[int], watch: Watch, since: int) -> None:
    """Make what was written to *fds*, all of one file system, durable.

    *since* is what *watch* gave before the first of them was written.

    Raises:
        OSError: at least one is not durable; nobody may count on any of them,
            and a second try would lie.
    """
    if len(fds) >= SYNCFS_FROM_FILES and _knows_syncfs(os.fstat(fds[0]).st_dev):
        watch.sync(since)
        return
    if len(fds) > 1:
        for fd in fds:
            # Allocates and starts writing, so that the first fsync commits the
            # metadata of all and the others find theirs done.
            _libc().sync_file_range(fd, _offset(0), _offset(0), _SYNC_FILE_RANGE_WRITE)
    for fd in fds:
        os.fsync(fd)


def sync_folders(folders: Sequence[Path], watch: Watch, since: int) -> None:
    """Make the names in *folders*, all of one file system, durable.

    Raises:
        OSError: as `sync_files`.
    """
    if len(folders) >= SYNCFS_FROM_FILES and _knows_syncfs(folders[0].stat().st_dev):
        watch.sync(since)
        return
    for folder in folders:
        sync_folder(folder)


def file_system_type(device: int) -> str:
    """As in ``/proc/self/mountinfo``; empty where that does not tell."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        # 36 35 98:0 /root /mount opts shared:1 - ext4 /dev/vda rw
        words = line.split(" ")
        if len(words) > 2 and words[2] == wanted and "-" in words:  # noqa: PLR2004
            return words[words.index("-") + 1]
    return ""


@functools.cache
def _knows_syncfs(device: int) -> bool:
    major, minor = os.uname().release.split(".")[:2]
    digits = "".join(filter(str.isdigit, minor))
    if (int(major), int(digits or 0)) < _SYNCFS_TELLS_ERRORS:
        return False
    return file_system_type(device) in _SYNCFS_TYPES


def _syncfs(fd: int) -> None:
    if _libc().syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_offset = ctypes.c_int64


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
