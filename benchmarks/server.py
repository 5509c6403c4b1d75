"""A server as a process of its own: on one core, and what it costs."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import clean_environment, hubsync
from benchmarks.measure import BenchmarkError

STOP_TIMEOUT_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE = 0


def on_core(command: Sequence[str]) -> list[str]:
    """*command* on the core that servers have, if there is one besides."""
    if (os.cpu_count() or 1) < 2 or not shutil.which("taskset"):
        return [*command]
    return ["taskset", "-c", str(SERVER_CORE), *command]


def leave_core() -> None:
    """Have ourselves, and whom we start, keep off the servers' core."""
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores - {SERVER_CORE})


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and its process."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """So far."""
        return cpu_seconds(self.pid)

    def rss_mib(self, *, peak: bool = False) -> float:
        """Now, or at most since `forget_peak`."""
        name = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise BenchmarkError("the server has ended")

    def forget_peak(self) -> None:
        with contextlib.suppress(OSError):  # an old kernel: the peak is of all time
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Of the process *pid* and of its children, so far."""
    return sum(map(_cpu_seconds, (pid, *_children(pid))))


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in found.read_text().split()] if found.is_file() else []


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def serving(root: Path, *options: str, **settings: str) -> Iterator[Server]:
    """`hubsync serve` of the store *root* meanwhile; *settings* of the environment."""
    command = hubsync("serve", "--port", "0", "--json", "--root", str(root), *options)
    process = subprocess.Popen(
        on_core(command),
        env=clean_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError(f"`{' '.join(command)}` did not start")
        yield Server(json.loads(line)["url"], process.pid)
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        process.stdout.close()


@contextmanager
def serving_tls(root: Path, certificate: Path, key: Path) -> Iterator[Server]:
    """The same behind TLS."""
    given = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with serving(root, *given) as server:
        yield server
