"""A server as a process, for tests that do to it what operators and accidents do."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tests.e2e.stand import STOP_TIMEOUT_S, Store, environment

WAIT_S = 30.0
MIB = 2**20


@dataclass
class Server:
    """``hubsync serve``, and what it has said."""

    process: "subprocess.Popen[str]"
    log: Path
    url: str = ""  # where it listens
    said: Mapping[str, str] = field(default_factory=dict)  # its line of JSON

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def get(self, target: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def workers(self) -> list[int]:
        """The processes that answer."""
        return [pid for pid in children(self.pid) if b"spawn_main" in command_line(pid)]

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it has said, of one that ends by itself."""
        with self.process:  # closes its pipes, too
            status = self.process.wait(WAIT_S)
        return status, self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def start(store: Store, log: Path, *args: str | Path) -> Server:
    """Start it and do not wait."""
    command = [sys.executable, "-m", "hubsync", "serve", "--root", store.root, *args]
    errors: IO[str]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=environment(store.home, store.more),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return Server(process, log)


@contextlib.contextmanager
def running(store: Store, log: Path, *args: str | Path) -> Iterator[Server]:
    """Meanwhile it serves; killed at the end, if it was not stopped."""
    server = start(store, log, "--json", *args)
    assert server.process.stdout
    try:
        line = server.process.stdout.readline()
        assert line, f"hubsync serve did not start:\n{log.read_text()}"
        server.said = json.loads(line)
        server.url = server.said["listening"]
        yield server
    finally:
        server.process.kill()
        server.process.wait(STOP_TIMEOUT_S)
        server.process.stdout.close()
