"""Locks that the kernel lets go of, however the process that holds them ends."""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

POLL_S = 0.05
_MODE = 0o644
_REFUSALS_MAX = 10


def try_lock(fd: int, kind: int) -> bool:
    """Take the lock of *fd* (``LOCK_SH`` or ``LOCK_EX``) if it is to be had now."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(fd: int, kind: int, wait_s: float) -> bool:
    """Take the lock of *fd*, waiting at most *wait_s* seconds for it."""
    deadline = time.monotonic() + wait_s
    while not try_lock(fd, kind):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(POLL_S, left_s))  # flock knows no time-out
    return True


def open_locked(path: Path) -> int:
    """Make the file at *path* if need be and lock it, waiting for whoever has it.

    The name still stands for the locked file when this returns: its holder may
    rename or delete it, and nobody else does.
    """
    fd = _open_locked(path, wait=True)
    assert fd is not None, "it waited"
    return fd


def open_locked_now(path: Path) -> int | None:
    """As `open_locked`, or None when somebody has it."""
    return _open_locked(path, wait=False)


def _open_locked(path: Path, *, wait: bool) -> int | None:
    refusals = 0
    while True:
        try:
            fd = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE
            )
        except PermissionError:
            refusals += 1
            if refusals > _REFUSALS_MAX or not _make_writable_again(path):
                raise
            continue
        if not wait and not try_lock(fd, fcntl.LOCK_EX):
            os.close(fd)
            return None
        if _lock_if_still(path, fd):
            return fd


def wait_for_holder(path: Path) -> None:
    """Wait until nobody has the file at *path* locked, if there is one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def is_still(path: Path, fd: int) -> bool:
    """Whether *path* names the very file that *fd* is open on."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def holder(path: Path) -> str | None:
    """Which process has the file at *path* locked, where the kernel tells."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF   (waiting ones: "1: ->")
        words = line.split()
        if words[1] != "FLOCK" or not words[5].endswith(f":{inode}"):
            continue
        found = _command(words[4])
        if found:
            return f"process {words[4]} ({found})"
    return None


def _command(pid: str) -> str:
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""  # it ended meanwhile, or it is in another container
    names = [os.path.basename(word) for word in words[:3]]  # noqa: PTH119 - bytes
    return b" ".join(names).decode("utf-8", "replace").strip()


def _lock_if_still(path: Path, fd: int) -> bool:
    """Lock *fd*; close it again if *path* has become another file meanwhile."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if is_still(path, fd):
            return True
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return False


def _make_writable_again(path: Path) -> bool:
    """Whether a read-only file of ours at *path* can be opened for writing now.

    A process that died between chmod and rename left it so.  The change of mode
    happens under the lock: the file may just be getting its final name.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True  # renamed since, or we may not make it: the next try tells
    except OSError as error:
        if error.errno in (errno.EACCES, errno.ELOOP):
            return False
        raise
    if not _lock_if_still(path, fd):
        return True
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) & stat.S_IWUSR:
            return False  # it is somebody else's
        os.fchmod(fd, _MODE)
    finally:
        os.close(fd)
    return True
