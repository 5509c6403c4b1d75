"""``python -m benchmarks.pull``: pulling beside aria2c, curl and ``hf download``.

Everybody gets the same bytes from the same upstream, in alternation.  hubsync
alone hashes every byte, compares it with what the hub says, and syncs it to the
disk before it says that it has it; that is in its time, and so is the start of
the interpreter.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import Runner, require
from benchmarks.measure import (
    Comparison,
    Figure,
    Section,
    alternating,
    compared,
    rounds,
)
from benchmarks.tools import ARIA2C, CHECKSUM, CURL, HF, HUBSYNC, Race, Tools, race
from benchmarks.upstream import Upstream
from tests.testhub import HubRepo

MIB, GIB = 2**20, 2**30
LARGE, MANY, SMALL = "bench/large", "bench/many", "bench/small"
WEIGHTS = "weights.bin"
FAR_RATE, FAR_DELAY_S = 20e6, 0.040
FAR_HF_ROUNDS = 3  # one connection takes 13 s for the smaller file
UNVERIFIED = (
    "aria2c and curl fetch the LFS files only; neither they nor hf hash or sync."
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share."""

    plan: Plan
    upstream: Upstream
    tools: Tools
    many: HubRepo
    sha256: str  # of the large file

    @property
    def large_bytes(self) -> int:
        return self.plan.sizes["size_mib"] * MIB


def sections(plan: Plan) -> Iterator[Section]:
    """One after another, each with its own rounds."""
    require("nginx", "openssl")
    sizes = plan.sizes
    held = (
        sizes["size_mib"] + sizes["far_mib"] + sizes["files"] * sizes["file_kb"] / 1024
    )
    plan.require_room(int(2.5 * held) * MIB)
    with (
        Upstream(plan.work) as upstream,
        Runner() as runner,
        Tools(
            runner, upstream, plan.work, sizes["size_mib"] * MIB
        ).cleaned_up() as tools,
    ):
        many, sha256 = _prepare(upstream, plan)
        bench = Bench(plan, upstream, tools, many, sha256)
        for part, measure in PARTS.items():
            if plan.wants(part):
                yield from measure(bench)


def _prepare(upstream: Upstream, plan: Plan) -> tuple[HubRepo, str]:
    sizes, source = plan.sizes, plan.work / "source"
    source.mkdir()
    big = upstream.publish(
        LARGE,
        {WEIGHTS: _make(source / "large", sizes["size_mib"] * MIB)},
        {"README.md": b"# large\n"},
    )
    upstream.publish(SMALL, {WEIGHTS: _make(source / "s", sizes["far_mib"] * MIB)}, {})
    files = {
        _part(number): _make(source / f"{number}", sizes["file_kb"] * 1024)
        for number in range(sizes["files"])
    }
    many = upstream.publish(MANY, files, {"README.md": b"# many\n"})
    source.rmdir()
    return many, upstream.sha256(big, WEIGHTS)


def _part(number: int) -> str:
    return f"part-{number:05}.bin"


def _make(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        for start in range(0, size_bytes, MIB):
            file.write(os.urandom(min(MIB, size_bytes - start)))
    return path


def _large(bench: Bench) -> Iterator[Section]:
    url = bench.upstream.url(LARGE, WEIGHTS)
    tools = bench.tools
    found = race(
        bench.plan,
        {
            HUBSYNC: partial(tools.hubsync, LARGE),
            ARIA2C: partial(tools.aria2c, url),
            CHECKSUM: partial(tools.aria2c, url, f"--checksum=sha-256={bench.sha256}"),
            HF: partial(tools.hf, LARGE),
            CURL: partial(tools.curl, url),
        },
    )
    yield Section(
        f"(a) pull of one file of {_size(bench.large_bytes)}, nothing in the way",
        _versus(found, {ARIA2C: 1.4, CHECKSUM: 4.0, HF: 3.0, CURL: None}),
        [*_cpu(found, bench.large_bytes, 2.2), _memory(found)],
        (UNVERIFIED, *tools.notes),
    )


def _many(bench: Bench) -> Iterator[Section]:
    count, kb = bench.plan.sizes["files"], bench.plan.sizes["file_kb"]
    with bench.upstream.quick():
        urls = [bench.upstream.url(MANY, _part(number)) for number in range(count)]
        found = race(
            bench.plan,
            {
                HUBSYNC: partial(bench.tools.hubsync, MANY),
                ARIA2C: partial(bench.tools.aria2c_all, urls),
                HF: partial(bench.tools.hf, MANY),
            },
        )
    yield Section(
        f"(a) pull of {count} files of {kb} KiB, nothing in the way",
        _versus(found, {ARIA2C: 1.4, HF: 3.0}),
        [*_cpu(found, count * kb * 1024), _memory(found)],
        ("The hub's answers come from nginx's memory: nobody waits for them.",),
    )


def _tls(bench: Bench) -> Iterator[Section]:
    url = bench.upstream.url(LARGE, WEIGHTS)
    bench.upstream.over_tls()
    found = race(
        bench.plan,
        {
            HUBSYNC: partial(bench.tools.hubsync, LARGE),
            ARIA2C: partial(bench.tools.aria2c, url),
        },
    )
    bench.upstream.near()
    yield Section(
        f"(a) pull of one file of {_size(bench.large_bytes)} over TLS",
        _versus(found, {ARIA2C: 1.15}),
        [*_cpu(found, bench.large_bytes), _memory(found)],
    )


def _far(bench: Bench) -> Iterator[Section]:
    tools, plan, small = bench.tools, bench.plan, bench.plan.sizes["far_mib"] * MIB
    url = bench.upstream.url(LARGE, WEIGHTS)
    with bench.upstream.far_away(FAR_RATE, FAR_DELAY_S):
        found = race(
            plan,
            {
                HUBSYNC: partial(tools.hubsync, LARGE),
                ARIA2C: partial(tools.aria2c, url),
            },
        )
        few = min(plan.rounds, FAR_HF_ROUNDS)
        slow: dict[str, list[float]] = {HUBSYNC: [], HF: []}
        for number in rounds(few, plan.seconds_max):
            runs = {
                HUBSYNC: partial(tools.hubsync, SMALL),
                HF: partial(tools.hf, SMALL),
            }
            for name, done in alternating(number, runs).items():
                slow[name].append(done.seconds)
    against_hf = compared(_size(small), HF, slow[HUBSYNC], slow[HF], 4.0)
    yield Section(
        f"(b) pull at {FAR_RATE / 1e6:.0f} MB/s a connection, "
        f"{FAR_DELAY_S * 1000:.0f} ms away",
        [*_versus(found, {ARIA2C: 1.0}, _size(bench.large_bytes)), against_hf],
        [
            Figure(
                f"of what 16 connections give, {_size(bench.large_bytes)}",
                "",
                None,
                [
                    bench.large_bytes / seconds / (16 * FAR_RATE)
                    for seconds in found.seconds(HUBSYNC)
                ],
            )
        ],
        ("hf has a smaller file: one connection takes 100 s and more for 2 GiB.",),
    )


def _again(bench: Bench) -> Iterator[Section]:
    """What a second pull asks for, and how long it takes."""
    runs = {
        HUBSYNC: partial(bench.tools.hubsync, MANY, keep=True),
        HF: partial(bench.tools.hf, MANY, keep=True),
    }
    for run in runs.values():
        run()
    hub = bench.upstream.hub
    for what in ("nothing has changed", "a new README.md"):
        asked: dict[str, list[float]] = {name: [] for name in runs}
        taken: dict[str, list[float]] = {name: [] for name in runs}

        def counted(name: str) -> float:
            hub.log.clear()
            seconds = runs[name]().seconds
            asked[name].append(len(hub.log.matching(role="hub")))  # noqa: B023 - called in this round
            return seconds

        for number in rounds(bench.plan.rounds, bench.plan.seconds_max):
            if what != "nothing has changed":
                bench.many.commit({"README.md": b"# %s %d\n" % (os.urandom(4), number)})
            once = {name: partial(counted, name) for name in runs}
            for name, seconds in alternating(number, once).items():
                taken[name].append(seconds)
        requests = Comparison("requests to the hub", HF, "", "less")
        requests.pairs = list(zip(asked[HUBSYNC], asked[HF], strict=True))
        yield Section(
            f"(c) pull again of {bench.plan.sizes['files']} files: {what}",
            [compared("time", HF, taken[HUBSYNC], taken[HF]), requests],
        )


def _versus(
    found: Race, asked: dict[str, float | None], what: str = "time"
) -> list[Comparison]:
    return [
        compared(what, name, found.seconds(HUBSYNC), found.seconds(name), ratio)
        for name, ratio in asked.items()
        if name in found
    ]


def _cpu(found: Race, size_bytes: int, at_most: float | None = None) -> list[Figure]:
    return [
        Figure(
            f"CPU of {name}",
            "s/GiB",
            at_most if name == HUBSYNC else None,
            [one.cpu_seconds / (size_bytes / GIB) for one in runs],
        )
        for name, runs in found.runs.items()
    ]


def _memory(found: Race) -> Figure:
    peaks = [one.rss_bytes / MIB for one in found.runs[HUBSYNC]]
    return Figure("peak memory of hubsync", "MiB", 100.0, peaks)


def _size(size_bytes: int) -> str:
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:g} GiB"
    return f"{size_bytes // MIB} MiB"


PARTS: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "large": _large,
    "many": _many,
    "tls": _tls,
    "far": _far,
    "again": _again,
}
GROUP = Group(
    "pull",
    tuple(PARTS),
    {
        "size_mib": Size(2048, 16, "MiB of the large file"),
        "far_mib": Size(256, 16, "MiB of the one that hf pulls from far away"),
        "files": Size(300, 10, "files of the other repo"),
        "file_kb": Size(1024, 100, "KiB of each of them"),
    },
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
