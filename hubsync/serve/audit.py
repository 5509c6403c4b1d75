"""Who read what: a line of JSON each, written before the answer leaves."""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from hubsync.model.errors import HubsyncError
from hubsync.serve.errors import Problem
from hubsync.serve.events import Event

log = logging.getLogger("hubsync.serve")
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_MODE = 0o640  # names of repos are in it, that not everybody may know


class AuditLogError(HubsyncError):
    """The audit log cannot be written."""


class AuditLog:
    """Appends to one file, whoever else does.

    Each line is one write to a file opened for appending: workers may share it.
    A file that was moved away or removed, as log rotation does, is made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._torn = False

    def open(self) -> None:
        """Make the file if it is not there.

        Raises:
            AuditLogError: it cannot be written.
        """
        try:
            self._current()
        except OSError as error:
            raise AuditLogError(
                f"the audit log {self._path} cannot be written: {error.strerror}",
                hint="Make its folder writable for the server, or name another file "
                "in serve.audit_log.",
            ) from error

    def write(self, line: dict[str, object]) -> None:
        """Add *line*, with the time.

        Raises:
            Problem: 503; what cannot be written down must not happen.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": at, **line}) + "\n"
        if self._torn:
            text = "\n" + text
        try:
            wrote = os.write(self._current(), text.encode())
        except OSError as error:
            log.error(_failed(self._path, error.strerror))  # noqa: TRY400 - one line
            raise _unaudited() from None
        self._torn = wrote != len(text)
        if self._torn:
            log.error(_failed(self._path, "the disk is full"))
            raise _unaudited()

    def _current(self) -> int:
        if self._file is not None:
            ours = os.fstat(self._file)
            try:
                there = self._path.stat()
            except FileNotFoundError:
                there = None
            if there and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return self._file
            self.close()
        self._file = os.open(self._path, _FLAGS, _MODE)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _failed(path: Path, reason: str | None) -> Event:
    return Event("audit log cannot be written", path=str(path), reason=reason)


def _unaudited() -> Problem:
    return Problem(
        503, "This mirror writes down who reads what, and cannot: try again later"
    )
