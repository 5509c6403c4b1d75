"""Standard output and standard error, and what happens when nobody can be told.

What goes to stderr is talk: a full disk below a log, or a reader that has gone,
must not end a transfer of hours.  What goes to stdout is the result: a command
that cannot hand it over has failed.
"""

import errno
import io
import os
import sys
from typing import Any

from hubsync.model.errors import ExitCode, HubsyncError

STDIN, STDOUT, STDERR = 0, 1, 2


class OutputError(HubsyncError):
    """The result cannot be written to where stdout leads."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"cannot write to standard output: {error.strerror or error}",
            hint="What was brought in by then is kept.",
        )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.exit_code = ExitCode.NO_ROOM


class _Result(io.FileIO):
    """Where results go."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # whoever read us has seen enough: `| head`
        except OSError as error:
            raise OutputError(error) from error


class _Talk(io.FileIO):
    """Where talk goes, if it can go anywhere."""

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        try:
            # None: a terminal that somebody has made non-blocking is busy.
            return super().write(data) or size
        except OSError:
            return size  # there is nobody to tell that nobody can be told


def set_up_streams() -> None:
    """Make stdout and stderr ours.  Call it before any file is opened."""
    _take_places()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout = _text(_Result(STDOUT, "w", closefd=False), encoding)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = _text(_Talk(STDERR, "w", closefd=False), encoding, is_talk=True)


def _take_places() -> None:
    """Open what was closed (``2>&-``): else the next file opened becomes stderr.

    A result that is written to the null device would be lost without a word: for
    stdout it is opened for reading alone, so that writing fails.
    """
    for fd, flags in (
        (STDIN, os.O_RDONLY),
        (STDOUT, os.O_RDONLY),
        (STDERR, os.O_WRONLY),
    ):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, flags)
            assert opened == fd, "the lowest that is free"
            os.set_inheritable(fd, True)


def _text(raw: io.FileIO, encoding: str, *, is_talk: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        # A terminal that cannot show a file's name must not end the command.
        errors="backslashreplace",
        line_buffering=is_talk or raw.isatty(),
    )
