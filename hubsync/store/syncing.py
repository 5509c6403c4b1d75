"""Making many files durable with few waits for the disk."""

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from hubsync.store.disk import sync_folder

SYNCFS_FROM_FILES = 16
# Where syncfs is known to wait for the data of every file.  On FUSE it need not
# reach the server's disk, and elsewhere nobody has looked.
_SYNCFS_TYPES = frozenset({"btrfs", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
_SYNCFS_TELLS_ERRORS = (5, 8)  # kernel; before that it always says yes
_SYNC_FILE_RANGE_WRITE = 2


def sync_files(fds: Sequence[int]) -> None:
    """Make what was written to *fds*, all of one file system, durable.

    Raises:
        OSError: at least one is not durable; nobody may count on any of them,
            and a second try would lie.
    """
    if len(fds) >= SYNCFS_FROM_FILES and _knows_syncfs(os.fstat(fds[0]).st_dev):
        _syncfs(fds[0])
        return
    if len(fds) > 1:
        for fd in fds:
            # Allocates and starts writing, so that the first fsync commits the
            # metadata of all and the others find theirs done.
            _libc().sync_file_range(fd, _offset(0), _offset(0), _SYNC_FILE_RANGE_WRITE)
    for fd in fds:
        os.fsync(fd)


def sync_folders(folders: Sequence[Path]) -> None:
    """Make the names in *folders*, all of one file system, durable.

    Raises:
        OSError: as `sync_files`.
    """
    if len(folders) >= SYNCFS_FROM_FILES:
        fd = os.open(folders[0], os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _knows_syncfs(os.fstat(fd).st_dev):
                _syncfs(fd)
                return
        finally:
            os.close(fd)
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
