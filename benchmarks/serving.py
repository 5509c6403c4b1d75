"""``hubsync serve`` beside nginx, on the same files."""

import shutil
import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks.command import Group, Plan, Size
from benchmarks.commands import Runner, find, require
from benchmarks.content import LARGE, MIB, REPO, SMALL, SMALL_FILES, publish
from benchmarks.load import parallel_ranges, request_rate
from benchmarks.measure import Comparison, Section, alternating, rounds
from benchmarks.nginx import nginx

NGINX = "nginx"
HUBSYNC = "hubsync"
PARTS = 16
CONNECTIONS = 16
LOAD_S = 1.0
NOTE = """\
nginx (one worker a core) maps a path to a file; hubsync (one process) looks up
repo, revision and file in its catalog for each request."""


def sections(plan: Plan) -> Iterator[Section]:
    """All comparisons of serving, and what there is to say about them."""
    require("nginx", "openssl")
    plan.require_room(3 * plan.sizes["serve_mib"] * MIB)
    content = publish(plan.work, plan.sizes["serve_mib"])
    shutil.rmtree(plan.work / "source")
    with (
        content.peer.serving() as ours,
        nginx(plan.work / "nginx", content.folder, workers="auto") as theirs,
        Runner() as runner,
    ):
        bases = {HUBSYNC: f"{ours}/{REPO}/resolve/main", NGINX: theirs.plain}
        yield _Serving(bases, content.large_bytes, runner).compare(plan)


class _Serving:
    def __init__(self, bases: dict[str, str], large_bytes: int, runner: Runner) -> None:
        self._bases, self._large_bytes, self._runner = bases, large_bytes, runner
        self._busy: dict[str, list[float]] = {HUBSYNC: [], NGINX: []}

    def compare(self, plan: Plan) -> Section:
        size = f"{self._large_bytes // MIB} MiB"
        kinds = {
            "whole": Comparison(
                f"GET {size} whole, curl", NGINX, "MiB/s", "more", 0.90
            ),
            "parts": Comparison(
                f"GET {size}, {PARTS} ranges", NGINX, "MiB/s", "more", 0.90
            ),
            "HEAD": Comparison("HEAD", NGINX, "/s", "more"),
            "GET": Comparison("GET of 4 kB", NGINX, "/s", "more"),
        }
        notes = [NOTE]
        if find("curl") is None:
            del kinds["whole"]
            notes.append("curl is not installed: no whole GET.")
        for base in self._bases.values():
            self._measure("parts", base)  # warm-up
            self._measure("GET", base, 0.2)
        for number in rounds(plan.rounds, plan.seconds_max):
            for kind, found in kinds.items():
                runs = {name: partial(self._one, kind, name) for name in self._bases}
                taken = alternating(number, runs)
                found.add(taken[HUBSYNC], taken[NGINX])
        busy = {name: statistics.median(found) for name, found in self._busy.items()}
        notes.append(
            "HEAD/s and GET/s: the client (Python, one core) was busy"
            f" {busy[HUBSYNC]:.0%} with hubsync, {busy[NGINX]:.0%} with nginx;\n"
            "near 100% the client is the limit, and the server can do more."
        )
        return Section(
            f"serve: {size} of random bytes and {SMALL_FILES} files of 4 kB",
            list(kinds.values()),
            notes=notes,
        )

    def _one(self, kind: str, name: str) -> float:
        value, busy = self._measure(kind, self._bases[name], LOAD_S)
        if busy is not None:
            self._busy[name].append(busy)
        return value

    def _measure(
        self, kind: str, base: str, seconds: float = LOAD_S
    ) -> tuple[float, float | None]:
        """A value, and for requests how busy the client was."""
        if kind == "whole":
            command = ["curl", "-sfo", "/dev/null", f"{base}/{LARGE}"]
            spent = self._runner.run(command).seconds
            return self._large_bytes / MIB / spent, None
        if kind == "parts":
            spent = parallel_ranges(f"{base}/{LARGE}", self._large_bytes, PARTS)
            return self._large_bytes / MIB / spent, None
        rate = request_rate(
            f"{base}/{SMALL}", kind, connections=CONNECTIONS, seconds=seconds
        )
        return rate.per_second, rate.client_busy


GROUP = Group(
    "serve",
    ("serve",),
    {"serve_mib": Size(512, 8, "MiB of the large file that is served")},
    sections,
)
