"""Which process a lease belongs to, and whether that process still runs."""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_ENDED = ("Z", "X")  # its files are closed and it never comes back


@dataclass(frozen=True, slots=True)
class Owner:
    """A process among all processes of all machines; *host* is for people only.

    A pid means something within one namespace of one run of a kernel, and with
    the moment at which the process began: pids come again.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: int | None
    pid_namespace: str

    @classmethod
    def this_process(cls) -> "Owner":
        pid = os.getpid()
        return cls(
            socket.gethostname(),
            _read("sys/kernel/random/boot_id"),
            pid,
            _started(pid),
            _namespace(),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Owner":
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def shares_processes_with(self, other: "Owner") -> bool:
        """Whether a pid means the same to both.  Not known is no."""
        mine = (self.boot_id, self.pid_namespace)
        return all(mine) and mine == (other.boot_id, other.pid_namespace)

    def is_running(self) -> bool | None:
        """Whether the process runs; None when that cannot be told.

        Ask only when `shares_processes_with` this process.
        """
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's: it is there
        started = _started(self.pid)
        if started is None or self.pid_started is None:
            return False if _has_ended(self.pid) else None
        return started == self.pid_started and not _has_ended(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _stat(pid: int) -> list[str]:
    """What follows the name in ``/proc/<pid>/stat``: the state comes first."""
    # The name stands in brackets and may hold any character, brackets too.
    return _read(f"{pid}/stat").rpartition(")")[2].split()


def _started(pid: int) -> int | None:
    words = _stat(pid)
    return int(words[19]) if len(words) > 19 else None  # noqa: PLR2004 - proc(5), field 22


def _has_ended(pid: int) -> bool:
    return _stat(pid)[:1] in ([state] for state in _ENDED)


def _read(name: str) -> str:
    try:
        return (_PROC / name).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")  # noqa: PTH115 - "pid:[4026531836]" is no path
    except OSError:
        return ""
