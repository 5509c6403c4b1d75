"""A folder to try things out in, and what killed runs have left of theirs."""

import errno
import fcntl
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubsync.model.errors import UsageError
from hubsync.model.units import MIB, format_size
from hubsync.ports.blobs import NoRoomError

PREFIX = "hubsync-selftest-"
MARK = "SELFTEST"  # says whose it is; locked while anybody is at work in it
NEEDED_BYTES = 64 * MIB
_MARK_BYTES_MAX = 4096
_ELSEWHERE = "Name another folder with --dir."


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """A folder of our own in *place*, gone afterwards.

    Raises:
        UsageError: *place* is no folder that can be written to.
        NoRoomError: there is too little room for a run.
    """
    if not place.is_dir():
        what = "is not a folder" if place.exists() else "does not exist"
        raise UsageError(f"{place} {what}", hint=_ELSEWHERE)
    try:
        scratch = tempfile.TemporaryDirectory(prefix=PREFIX, dir=place)
    except OSError as error:
        raise _explain(error, place) from error
    with scratch as name:
        _require_room(place)
        marked = _mark(Path(name))
        try:
            yield Path(name)
        finally:
            os.close(marked)


def clean_up(place: Path) -> Iterator[str]:
    """Remove what killed runs have left in *place*; a sentence for each."""
    for folder in sorted(place.glob(f"{PREFIX}*")):
        whose = _whose(folder)
        if whose == "dead":
            shutil.rmtree(folder, ignore_errors=True)
        if whose == "dead" and not folder.exists():
            yield f"removed {folder}, which a killed selftest had left"
        elif whose != "alive":
            yield f"{folder} looks like what a selftest left: remove it if none runs"


def _explain(error: OSError, place: Path) -> UsageError | NoRoomError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoomError(f"there is no room left in {place}", hint=_ELSEWHERE)
    return UsageError(f"cannot write to {place}: {error.strerror}", hint=_ELSEWHERE)


def _require_room(place: Path) -> None:
    found = os.statvfs(place)
    free_bytes = found.f_bavail * found.f_frsize
    if found.f_blocks and free_bytes < NEEDED_BYTES:
        raise NoRoomError(
            f"a run needs {format_size(NEEDED_BYTES)} in {place}, and "
            f"{format_size(free_bytes)} are free",
            hint=_ELSEWHERE,
        )


def _mark(scratch: Path) -> int:
    """Write down whose it is.  The descriptor has the lock; forks share it."""
    fd = os.open(scratch / MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    # Where nothing can be locked nothing can be proven later, and it is left alone.
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, json.dumps(_ours()).encode())
    return fd


def _ours() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _whose(folder: Path) -> str:
    """``dead``: provably a killed run's of this user, and nobody is at work in it.

    A lock alone proves little (some file systems say yes to everybody), nor does a
    process that is not seen (it may be in another container): it takes both.
    """
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return "unknown"
        fd = os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return "unknown"
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        said = json.loads(os.read(fd, _MARK_BYTES_MAX))
        is_here = said["host"] == socket.gethostname()
        state = "alive" if _lives(int(said["pid"])) else "dead"
    except BlockingIOError:
        return "alive"
    except (OSError, ValueError, LookupError, TypeError):  # no mark of ours
        return "unknown"
    finally:
        os.close(fd)
    return state if is_here else "unknown"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
