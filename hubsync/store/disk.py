"""What a disk promises, and what its errors mean."""

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hubsync.model.errors import HubsyncError
from hubsync.model.units import format_size
from hubsync.ports.blobs import (
    FileTooLargeError,
    NoRoomError,
    StoreReadOnlyError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})


class StoreIOError(HubsyncError):
    """The disk refused to read or write.  What it hit was not acknowledged."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an `OSError` around *path* into the error that says what it means."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> HubsyncError:
    where = error.filename if isinstance(error.filename, str) else str(path)
    if error.errno == errno.EFBIG:
        return FileTooLargeError(
            f"the file is larger than the file system or ulimit allows: {where}",
            hint="Raise the limit (ulimit -f), or keep the store on a file system "
            "for larger files. What was fetched is kept and resumed.",
        )
    if error.errno in _FULL:
        return NoRoomError(
            f"{_what_is_full(error, path)} while writing {where}",
            hint="Free some room (hubsync forget, hubsync gc) and repeat: what was "
            "fetched is kept and resumed.",
        )
    if error.errno in _READ_ONLY:
        verb = "cannot write" if error.errno == errno.EROFS else "no access to"
        return StoreReadOnlyError(
            f"{verb} {where}: {error.strerror}",
            hint="Check the mount and the owner of the store; serving from a "
            "read-only store works.",
        )
    if error.errno in _TOO_MANY_FILES:
        return StoreIOError(
            f"cannot open {where}: {error.strerror}",
            hint="Raise the limit (ulimit -n), or bring in fewer files at once.",
        )
    return StoreIOError(f"the disk failed at {where}: {error.strerror}")


def is_out_of_room(error: OSError) -> bool:
    """Whether *error* means that there is no room, not that the disk is bad."""
    return error.errno in _FULL or error.errno == errno.EFBIG


def _what_is_full(error: OSError, path: Path) -> str:
    if error.errno == errno.EDQUOT:
        return "the disk quota is used up"
    try:
        stat = os.statvfs(_existing(path))
    except OSError:
        return "the disk is full"
    return (
        "the disk is out of inodes"
        if stat.f_files and not stat.f_favail
        else "the disk is full"
    )


def free_bytes(path: Path) -> int | None:
    """What is free where *path* is or would be; None: the file system does not tell."""
    with explained(path):
        stat = os.statvfs(_existing(path))
    return stat.f_bavail * stat.f_frsize if stat.f_blocks else None


def check_room(path: Path, need_bytes: int, reserve_bytes: int) -> None:
    """Raise unless *need_bytes* can be written and the reserve stays free.

    Raises:
        NoRoomError: with how much is free and how much is kept.
    """
    free = free_bytes(path)
    if free is not None and free - need_bytes < reserve_bytes:
        raise NoRoomError(
            f"{format_size(need_bytes)} are needed in {path}, {format_size(free)} "
            f"are free and {format_size(reserve_bytes)} are kept in reserve",
            hint="Free some room (hubsync forget, hubsync gc), or lower "
            "[store] reserve.",
        )


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a rename alone survives no power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(path: Path, top: Path) -> None:
    """Make *path* below *top*, each new name durable before it is used."""
    if path.is_dir() or path == top:
        return
    make_folders(path.parent, top)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def write_durably(
    path: Path, data: bytes | Iterable[bytes], *, beside: Path | None = None
) -> None:
    """Replace the file at *path* in one step.

    *beside* is a folder on the same file system for the temporary file, where
    a client reading ``path.parent`` would take it for one of its own.
    """
    folder = beside or path.parent
    temporary = folder / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
