"""What the parts of the serving benchmark share: servers of one content."""

import hashlib
import json
import random
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.request import Request

from benchmarks.command import Plan
from benchmarks.commands import Runner, clean_environment
from benchmarks.content import LARGE, MIB, REPO, SMALL, Content
from benchmarks.measure import BenchmarkError, Comparison, alternating, rounds
from benchmarks.nginx import Nginx
from benchmarks.server import Server, cpu_seconds

NGINX, HUBSYNC = "nginx", "hubsync"
CONNECTIONS = 16
TIMEOUT_S = 120
RANGES_CHECKED = 5


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything is up."""

    plan: Plan
    content: Content
    ours: Server
    nginx: Nginx
    runner: Runner
    # Seconds that each run took of a server's core, by what it was and whose.
    cpu: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    @property
    def load_s(self) -> float:
        """Of one run of requests."""
        return 1.0 if self.plan.is_quick else 2.0

    @property
    def watch_s(self) -> float:
        """How long one client's waiting is looked at."""
        return 0.3 if self.plan.is_quick else 3.0

    def base(self, name: str) -> str:
        """Where *name* has the files of `REPO`."""
        return self.file_url("") if name == HUBSYNC else f"{self.nginx.plain}/"

    def file_url(self, path: str) -> str:
        return f"{self.ours.url}/{REPO}/resolve/main/{path}"

    def race(
        self, kinds: Mapping[str, tuple[Comparison, Callable[[str], float]]]
    ) -> list[Comparison]:
        """Each of *kinds* by both servers, in turn; notes what CPU each took."""
        if not self.plan.is_quick:
            for _, measure in kinds.values():
                for name in (HUBSYNC, NGINX):
                    measure(name)
        for number in rounds(self.plan.rounds, self.plan.seconds_max):
            for kind, (comparison, measure) in kinds.items():
                runs = {
                    HUBSYNC: partial(self._with_cpu, kind, measure, HUBSYNC),
                    NGINX: partial(self._with_cpu, kind, measure, NGINX),
                }
                taken = alternating(number, runs)
                comparison.add(taken[HUBSYNC], taken[NGINX])
        return [comparison for comparison, _ in kinds.values()]

    def _with_cpu(self, kind: str, measure: Callable[[str], float], name: str) -> float:
        pid = self.ours.pid if name == HUBSYNC else self.nginx.pid
        before = cpu_seconds(pid)
        value = measure(name)
        self.cpu.setdefault((kind, name), []).append(cpu_seconds(pid) - before)
        return value


def check(stand: Stand, url: str, tls: ssl.SSLContext | None = None) -> None:
    """Raise unless the server at *url* gives the right bytes, whole and in part."""
    ask = partial(urllib.request.urlopen, timeout=TIMEOUT_S, context=tls)
    for name in (LARGE, SMALL):
        path = stand.content.folder / name
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest()
        with ask(f"{url}{name}") as answer:
            found = hashlib.sha256()
            while block := answer.read(MIB):
                found.update(block)
        _require(found.hexdigest() == right, f"{url}{name} has other bytes")
        head = Request(f"{url}{name}", method="HEAD")
        with ask(head) as answer:
            length, size = answer.headers["Content-Length"], path.stat().st_size
            _require(length == str(size), f"HEAD of {url}{name} tells {length} bytes")
            _require(
                answer.headers["Accept-Ranges"] == "bytes", f"{url} takes no ranges"
            )
    _check_ranges(stand, url, ask)


def _check_ranges(stand: Stand, url: str, ask: Callable[[Request], Any]) -> None:
    size = stand.content.large_bytes
    with stand.content.large.open("rb") as file:
        for _ in range(RANGES_CHECKED):
            start = random.randrange(size - 1)
            stop = min(size, start + 1 + random.randrange(MIB))
            asked = {"Range": f"bytes={start}-{stop - 1}"}
            with ask(Request(f"{url}{LARGE}", headers=asked)) as answer:
                _require(answer.status == 206, f"{url} ignores a range")
                found = answer.read()
            file.seek(start)
            _require(found == file.read(stop - start), f"{url}: a range is wrong")


def get_json(url: str) -> object:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        found: object = json.loads(answer.read())
        return found


def get_next(url: str) -> str:
    """The address of the page after the one at *url*."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        link = str(answer.headers["Link"])
    return link.partition("<")[2].partition(">")[0]


def _require(is_right: object, otherwise: str) -> None:
    if not is_right:
        raise BenchmarkError(otherwise)


def start_probe(url: str, seconds: float) -> "subprocess.Popen[str]":
    """One client that asks for *url* for so long; see `waited`."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.probe", url, str(seconds)],
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        text=True,
    )


def waited(probe: "subprocess.Popen[str]") -> Sequence[float]:
    """The milliseconds that each answer took."""
    said, _ = probe.communicate(timeout=TIMEOUT_S)
    if probe.returncode:
        raise BenchmarkError("the client that watches got no answer")
    found: list[float] = json.loads(said)
    return found
