"""Opening the SQLite file: durable and patient, or without writing anything."""

import contextlib
import fcntl
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from hubsync.catalog.errors import CatalogAddressError, CatalogReadOnlyError

T = TypeVar("T")

BUSY_TIMEOUT_S = 30.0
VERSION_MIN = (3, 35)  # RETURNING
_LOCK = struct.Struct("hhqqi4x")  # struct flock on 64-bit Linux
_OPEN_BYTE = 128  # SQLite's UNIX_SHM_DMS
_NO_INDEX = (
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
)


class FrozenConnection(sqlite3.Connection):
    """Reads a file as if nobody could change it (``immutable=1``).

    SQLite then takes no locks and would not see another's change, so whoever
    uses it asks `is_outdated` first and opens the file again if so.
    """

    path: Path
    seen: tuple[int, int, int, bool]

    def is_outdated(self) -> bool:
        try:
            return self.seen != _signature(self.path)
        except FileNotFoundError:
            return True


def who_has_open(path: Path) -> int | None:
    """A process that has the database open, if the kernel knows of one.

    Every connection in WAL mode holds one byte of the index file until it is
    closed.  Damage of the database itself does not matter.
    """
    try:
        fd = os.open(path.with_name(f"{path.name}-shm"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _OPEN_BYTE, 1, 0)
        kind, _, _, _, pid = _LOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(fd)


def connect(
    path: Path, *, read_only: bool = False, foreign_keys: bool = True
) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any one thread at a time.

    Raises:
        sqlite3.Error: as it comes.
        CatalogAddressError: the file or its folder is not there.
    """
    if sqlite3.sqlite_version_info < VERSION_MIN:
        raise CatalogAddressError(
            f"Python was built with SQLite {sqlite3.sqlite_version}, "
            f"the catalog needs {'.'.join(map(str, VERSION_MIN))}",
            hint="Use a newer Python, or keep the catalog in PostgreSQL.",
        )
    try:
        if read_only:
            return patiently(lambda: _connect_read_only(path))
        return patiently(lambda: _connect(path, foreign_keys=foreign_keys))
    except OSError as error:
        raise CatalogAddressError(
            f"cannot open the catalog {path}: {error.strerror}"
        ) from error


def patiently(work: Callable[[], T]) -> T:
    """Run *work* anew while SQLite finds no moment to begin to read.

    Where a process was killed as it wrote the head of the log's index, and
    another has the right to write, SQLite tries for ten seconds and gives up
    with "locking protocol", whatever its timeout is.  Nothing was done then.
    """
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not found_no_moment(error) or time.monotonic() > until:
                raise


def found_no_moment(error: BaseException | None) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode == sqlite3.SQLITE_PROTOCOL
    )


def _connect(path: Path, *, foreign_keys: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        _use_wal(connection, path)
        # NORMAL would lose acknowledged commits in a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        return
    # When several switch a new file in the same moment, SQLite tells some of
    # them "locked" without waiting (97 times in 4,000 for three processes), so
    # one goes first.  The lock is on the folder: those on the file are SQLite's.
    with _folder_lock(path.absolute().parent):
        connection.execute("PRAGMA journal_mode=WAL").fetchone()


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise CatalogAddressError(
            f"there is no catalog at {path}",
            hint="If it was lost, make it again with: hubsync db rebuild. If there "
            "never was one, pull something first.",
        )
    try:
        return _open_uri(path, "mode=ro", sqlite3.Connection)
    except sqlite3.OperationalError as error:
        # A write-ahead log needs its index file, which nobody has made and
        # which cannot be made on a read-only mount, nor on a full disk.
        if error.sqlite_errorcode not in _NO_INDEX and (
            error.sqlite_errorcode & 0xFF
        ) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        if _log_bytes(path):
            raise CatalogReadOnlyError(
                f"the catalog {path} has changes in {path.name}-wal that cannot "
                "be read from a read-only place",
                hint="Run any hubsync command once where the store is writable.",
            ) from error
    frozen = _open_uri(path, "mode=ro&immutable=1", FrozenConnection)
    assert isinstance(frozen, FrozenConnection)
    return frozen


def _open_uri(
    path: Path, query: str, kind: type[sqlite3.Connection]
) -> sqlite3.Connection:
    before = _signature(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=kind,
    )
    if isinstance(connection, FrozenConnection):
        connection.path, connection.seen = path, before
    try:
        # Opening alone touches nothing; this reads the header and the log.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _log_bytes(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _signature(path: Path) -> tuple[int, int, int, bool]:
    """Changes when the file is written, replaced, or opened for writing."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, _log_bytes(path) > 0
