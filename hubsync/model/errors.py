"""The root of every error a user can meet, and the ones shared by several rooms."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means (``docs/exit-codes.md``)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    UNAVAILABLE = 5
    INTEGRITY = 6
    NO_ROOM = 7
    PARTLY = 8
    BUSY = 9
    OFFLINE = 10
    INTERRUPTED = 130


class HubsyncError(Exception):
    """One clear sentence for a person, an exit code for a script.

    The message says what happened and where; *hint* says what to do about it.
    """

    exit_code = ExitCode.FAILED
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # To another process: not by `__init__`, which each class has its own of.
        return _again, (type(self), self.args, self.__dict__)


class UsageError(HubsyncError):
    """What was typed or configured cannot be meant."""

    exit_code = ExitCode.USAGE


class NotHeldError(HubsyncError):
    """The mirror does not hold what was asked for, and nothing was fetched."""

    exit_code = ExitCode.NOT_FOUND


class OfflineError(HubsyncError):
    """Offline was asked for, and the store alone cannot answer."""

    exit_code = ExitCode.OFFLINE


class IntegrityError(HubsyncError):
    """Bytes, or a listing of them, are not what they must be."""

    exit_code = ExitCode.INTEGRITY


def _again(
    kind: type[HubsyncError], args: tuple[object, ...], fields: dict[str, object]
) -> HubsyncError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error
