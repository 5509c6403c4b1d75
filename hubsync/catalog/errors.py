"""What can go wrong with a catalog, and how a driver's error becomes one sentence."""

import os
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hubsync.model.errors import ExitCode, HubsyncError, IntegrityError, UsageError
from hubsync.ports.blobs import NoRoomError


class CatalogError(HubsyncError):
    """The catalog's database refused something."""


class CatalogAddressError(UsageError):
    """The catalog's address cannot be meant, or names nothing that is there."""


class CatalogUnavailableError(CatalogError):
    """The database server does not answer."""

    exit_code = ExitCode.UNAVAILABLE
    retryable = True


class CatalogBusyError(CatalogError):
    """Another process has been writing for longer than we wait."""

    exit_code = ExitCode.BUSY
    retryable = True


class CatalogReadOnlyError(CatalogError):
    """The catalog was opened for reading, or cannot be written."""


class CatalogDamagedError(IntegrityError):
    """The file is no SQLite database, or a damaged one."""


class CatalogLostError(UsageError):
    """There is no catalog, and there was one: the store has what it recorded."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"the catalog {where} is lost: it is missing or empty, and the store has "
            "recorded revisions or blobs",
            hint="Make it again from the store with: hubsync db rebuild. If it is "
            "kept elsewhere, name it in [catalog] url. Nothing was changed.",
        )


class SchemaError(UsageError):
    """The catalog's tables are not the ones this hubsync knows."""


class NotWholeError(IntegrityError):
    """A commit cannot be published: a file that must be held is not.

    It was when the plan was made.  A `verify` may have found it damaged since,
    or it was forgotten and collected.
    """

    retryable = True

    def __init__(self, repo: object, path: str, others: int) -> None:
        self.path = path
        more = f" and {others} other files" if others else ""
        super().__init__(
            f"{path}{more} of {repo} got lost meanwhile: found damaged, or deleted",
            hint="Nothing was published. Run it again: what is missing is fetched.",
        )


class IdentityChangedError(HubsyncError):
    """The name now belongs to another repo than the one recorded under it.

    Someone deleted or renamed the repo and made a new one with its old name:
    the commits recorded so far and the ones to come have nothing in common.
    """

    exit_code = ExitCode.NOT_ALLOWED

    def __init__(self, repo: object, recorded: str, now: str) -> None:
        self.recorded, self.now = recorded, now
        super().__init__(
            f"{repo} is another repo than the one recorded under this name "
            f"(the hub's id was {recorded}, now {now})",
            hint="If you trust the new owner, repeat with --force; the commits "
            "recorded so far are kept.",
        )


_AGAIN = "Make it again from the store with: hubsync db rebuild --force."
_SQLITE_ERRORS: dict[int, tuple[type[HubsyncError], str, str | None]] = {
    sqlite3.SQLITE_FULL: (
        NoRoomError,
        "there is no room left for",
        "Free some room, by hubsync forget and gc or elsewhere on that disk.",
    ),
    sqlite3.SQLITE_BUSY: (
        CatalogBusyError,
        "another process is writing to",
        "Try again when the other hubsync command has finished.",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        CatalogBusyError,
        "others kept beginning to write to",
        "Try again when the other hubsync command has finished.",
    ),
    sqlite3.SQLITE_READONLY: (
        CatalogReadOnlyError,
        "this user or mount may not write to",
        None,
    ),
    sqlite3.SQLITE_NOTADB: (
        CatalogDamagedError,
        "not an SQLite database:",
        _AGAIN,
    ),
    sqlite3.SQLITE_CORRUPT: (
        CatalogDamagedError,
        "the database is damaged:",
        f"{_AGAIN} The blobs are not affected.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        CatalogAddressError,
        "cannot open",
        "Check that the folder exists and that this user may use it.",
    ),
}

# What SQLite says where it cannot make or lengthen the files beside the database.
_MAYBE_FULL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_FULL_BYTES = 256 * 1024

_POSTGRES_ERRORS: dict[str, tuple[type[HubsyncError], str, str | None]] = {
    "53100": (NoRoomError, "there is no room left for", None),
    "25006": (CatalogReadOnlyError, "cannot write to", None),
    "42501": (CatalogReadOnlyError, "this user may not use", None),
    "55P03": (CatalogBusyError, "another process has locked", None),
    "54000": (
        IntegrityError,
        "a file name is too long for",
        "PostgreSQL indexes names up to about 2,700 bytes.",
    ),
}
_CONNECTION_LOST = ("", "08", "53", "57")
_NAME_REFUSED = ("authentication failed", "does not exist", "no password supplied")


def explain(error: SQLAlchemyError | sqlite3.Error, where: str) -> HubsyncError:
    """The `HubsyncError` that says what *error* means for the catalog *where*."""
    if isinstance(error, PoolTimeoutError):
        return CatalogBusyError(f"too many requests at once for the catalog {where}")
    orig = error.orig if isinstance(error, DBAPIError) else error
    said = str(orig).strip().splitlines()[:1] or [type(error).__name__]
    if isinstance(orig, sqlite3.Error):
        primary = getattr(orig, "sqlite_errorcode", 0) & 0xFF
        if primary in _MAYBE_FULL and _is_full(Path(where)):
            primary = sqlite3.SQLITE_FULL
        if primary in _SQLITE_ERRORS:
            kind, what, hint = _SQLITE_ERRORS[primary]
            return kind(f"{what} the catalog {where} ({said[0]})", hint=hint)
    elif isinstance(error, DBAPIError):
        return _explain_postgres(error, said[0], where)
    return CatalogError(f"the catalog {where} failed: {said[0]}")


def _is_full(path: Path) -> bool:
    """Whether there is no room, or no inode, for what SQLite writes beside *path*."""
    try:
        disk = os.statvfs(path.absolute().parent)
    except OSError:
        return False
    free_bytes = disk.f_bavail * disk.f_frsize
    return (disk.f_blocks > 0 and free_bytes < _FULL_BYTES) or (
        disk.f_files > 0 and not disk.f_favail
    )


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five letters for what happened; empty if there are none."""
    return getattr(error.orig, "sqlstate", None) or ""


def _explain_postgres(error: DBAPIError, said: str, where: str) -> HubsyncError:
    state = sqlstate(error)
    if any(words in said for words in _NAME_REFUSED) and state[:2] in ("", "28", "3D"):
        return CatalogAddressError(f"cannot log in to the catalog {where}: {said}")
    if state in _POSTGRES_ERRORS:
        kind, what, hint = _POSTGRES_ERRORS[state]
        return kind(f"{what} the catalog {where} ({said})", hint=hint)
    lost = isinstance(error, OperationalError) and state[:2] in _CONNECTION_LOST
    if lost or error.connection_invalidated:
        return CatalogUnavailableError(
            f"cannot reach the catalog {where}: {said}",
            hint="Check that the server runs and that the address names it.",
        )
    return CatalogError(f"the catalog {where} failed: {said}")
