"""What is not held, and an upstream that is no help: first bytes, and others' waiting.

A file that the mirror does not hold comes through it from the upstream: how much
later than from the upstream itself does its first byte arrive?  And while the
upstream is gone, or stands still, or refuses: what do readers of held files notice?
"""

import os
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import require
from benchmarks.measure import BenchmarkError, Comparison, Section, rounds
from benchmarks.server import leave_core, serving
from benchmarks.trouble import measure_trouble
from benchmarks.upstream import Upstream

MIB = 2**20
REPO = "bench/misses"
FILES_A_ROUND = 4
FAR_RATE, FAR_DELAY_S = 20e6, 0.02
REDIRECTS = (301, 302, 307, 308)
OTHER = "the upstream itself"
TTFB_ASKED = 1 / 1.2


def sections(plan: Plan) -> Iterator[Section]:
    """Both, each with an upstream of its own."""
    require("nginx", "openssl")
    leave_core()
    if plan.wants("first-byte"):
        yield measure_first_byte(plan)
    if plan.wants("trouble"):
        yield measure_trouble(plan)


def measure_first_byte(plan: Plan) -> Section:
    """Of files that nobody has asked for before, by new connections each time."""
    size = plan.sizes["miss_mib"] * MIB
    where = ("on the same machine", "20 MB/s a connection, 20 ms away")
    found = {one: Comparison(one, OTHER, "ms", "less", TTFB_ASKED) for one in where}
    count = len(where) * plan.rounds * FILES_A_ROUND + 1
    plan.require_room(3 * count * size)
    (plan.work / "files").mkdir()
    files = {
        f"{n}.bin": _random_file(plan.work / "files", n, size) for n in range(count)
    }
    (plan.work / "upstream").mkdir()
    with Upstream(plan.work / "upstream") as upstream:
        upstream.publish(REPO, files, {"config.json": b"{}"})
        with serving(
            plan.work / "store",
            *("--on-missing", "on_demand"),
            HF_ENDPOINT=upstream.hub.endpoint,
        ) as server:
            path = f"/{REPO}/resolve/main/%d.bin"
            left = iter(range(count))
            first_byte(server.url, path % next(left), size)  # learns of the repo
            near, far = where

            def compare(what: str) -> None:
                for _ in range(FILES_A_ROUND):
                    number = next(left)
                    theirs = first_byte(upstream.hub.endpoint, path % number, size)
                    ours = first_byte(server.url, path % number, size)
                    found[what].add(1000 * ours, 1000 * theirs)

            for _ in rounds(plan.rounds, plan.seconds_max):
                compare(near)
                with upstream.far_away(FAR_RATE, FAR_DELAY_S):
                    compare(far)
    return Section(
        f"a file of {size // MIB} MiB that is not held: until its first byte",
        [*found.values()],
        notes=["New connections each time, as a command makes them."],
    )


def _random_file(folder: Path, number: int, size: int) -> Path:
    path = folder / f"{number}.bin"
    path.write_bytes(os.urandom(size))
    return path


def first_byte(endpoint: str, path: str, size: int) -> float:
    """Seconds until the first byte of a body, redirects and all."""
    began, url = time.perf_counter(), endpoint + path
    while True:
        parts = urlsplit(url)
        assert parts.hostname
        connection = HTTPConnection(parts.hostname, parts.port)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target)
            answer = connection.getresponse()
            if answer.status in REDIRECTS:
                url = urljoin(url, answer.headers["Location"])
                continue
            if answer.status != HTTPStatus.OK:
                raise BenchmarkError(f"{url} answered {answer.status}")
            answer.read(1)
            taken = time.perf_counter() - began
            if len(answer.read()) != size - 1:
                raise BenchmarkError(f"{url} did not come whole")
            return taken
        finally:
            connection.close()


GROUP = Group(
    "misses",
    ("first-byte", "trouble"),
    {"miss_mib": Size(8, 1, "MiB of each file that is not held")},
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
