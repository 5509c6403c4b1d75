"""System calls of a process: watched, and failed one by one, with strace."""

import builtins
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MUTATING = (
    *(
        "openat",
        "write",
        "pwrite64",
        "pwritev",
        "splice",
        "fsync",
        "fdatasync",
        "syncfs",
    ),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "fchmod"),
)
SAYING = "writev"
_LINE = re.compile(r"(?:\[pid +)?(\d+)\]? +(\w+)\((.*)$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"|\d+<([^>]*)>')


@dataclass(frozen=True, slots=True)
class Call:
    """One line of a trace."""

    number: int  # of the calls of that name, as strace counts them
    name: str
    paths: tuple[str, ...]
    text: str

    @property
    def injected(self) -> bool:
        return "(INJECTED)" in self.text

    @property
    def succeeded(self) -> bool:
        return " = -1 " not in self.text

    @property
    def says(self) -> str:
        """The word of a message to the one who keeps the ledger."""
        found = re.search(r'\\"word\\": \\"([a-z ]+)', self.text)
        return found[1] if self.name == SAYING and found else ""

    def changes(self, folder: str) -> bool:
        """Whether it changes, or may change, what is in *folder*."""
        if self.name == "openat" and "O_CREAT" not in self.text:
            return False
        return self.name != SAYING and any(folder in path for path in self.paths)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens instead of the *number*-th call of that name."""

    call: str
    number: int
    what: str  # signal=KILL, error=EIO, error=ENOSPC
    path: str

    @property
    def option(self) -> str:
        return f"inject={self.call}:{self.what}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


class MayNotTraceError(Exception):
    """Looking into other processes is not for this user."""


@contextmanager
def traced(pid: int, log: Path, fault: Fault | None) -> Iterator[None]:
    """Trace *pid*, which waits for something, from the moment this yields."""
    names = ",".join((*MUTATING, SAYING))
    command = ["strace", "-f", "-y", "-s", "40", "-e", f"trace={names}"]
    if fault is not None:
        command += ["-e", fault.option]
    strace = subprocess.Popen(
        [*command, "-o", str(log), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr
    said = strace.stderr.readline()
    if "attached" not in said:
        strace.kill()
        strace.wait()
        raise MayNotTraceError(said.strip())
    yield
    strace.communicate()


def read_trace(log: Path) -> list[Call]:
    """The calls of the process's first thread: the one that does the work."""
    counts: dict[str, int] = {}
    calls = []
    first = ""
    for line in log.read_text("utf-8", "replace").splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        pid, name, rest = found.groups()
        first = first or pid
        if pid != first:
            continue
        counts[name] = counts.get(name, 0) + 1
        paths = tuple(one or other for one, other in _PATH.findall(rest))
        calls.append(Call(counts[name], name, paths, line))
    return calls


def faults(calls: Sequence[Call], folder: str) -> Iterator[Fault]:
    """Every way to fail each of *calls* that changes something in *folder*."""
    for call in calls:
        if call.changes(folder):
            path = [one for one in call.paths if folder in one][-1]
            for what in ("signal=KILL", "error=EIO", "error=ENOSPC"):
                yield Fault(call.name, call.number, what, path)


def is_explained(failure: str) -> bool:
    """Whether a worker's failure is one that a command has a sentence for."""
    kind = failure.split(": ")[1].rpartition(".")[2]
    known = getattr(builtins, kind, None)
    return known is None or issubclass(known, OSError)
