"""``hubsync serve`` beside nginx and olah, on the same files.

Both servers have one core, the clients the others.  Every server is asked for the
whole file, for ranges and for headers first, and must have given the right bytes.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.command import Group, Plan, Size, main
from benchmarks.commands import Runner, find, require, said_missing
from benchmarks.content import (
    LARGE,
    MIB,
    SMALL,
    SMALL_BYTES,
    TREE_REPO,
    publish,
)
from benchmarks.load import drain, fast_rate, pieces, slices
from benchmarks.measure import Comparison, Figure, Section
from benchmarks.nginx import nginx
from benchmarks.server import SERVER_CORE, leave_core, serving
from benchmarks.serving_clients import measure_snapshot, measure_tls
from benchmarks.serving_load import measure_latency, measure_slow_clients
from benchmarks.serving_olah import measure_olah
from benchmarks.stand import CONNECTIONS, HUBSYNC, NGINX, Stand, check, get_next

RANGES = 16
RSS_MAX_MIB = 120
CPU_S_PER_GIB = 0.35
LOOKUPS = """\
nginx maps a path to a file; hubsync looks up repo, revision and file in its
catalog, which it recalls for as long as nobody has changed the catalog."""


def sections(plan: Plan) -> Iterator[Section]:
    """All comparisons of serving, and what there is to say about them."""
    require("nginx", "openssl")
    sizes = plan.sizes
    plan.require_room((4 * sizes["serve_mib"] + 30 * sizes["snapshot_mib"]) * MIB)
    content = publish(plan.work, sizes)
    leave_core()
    with (
        serving(content.store) as ours,
        nginx(
            plan.work / "nginx", content.folder, hub=ours.url, core=SERVER_CORE
        ) as theirs,
        Runner() as runner,
    ):
        stand = Stand(plan, content, ours, theirs, runner)
        for name in (HUBSYNC, NGINX):
            check(stand, stand.base(name))
        for part, measure in PARTS.items():
            if plan.wants(part):
                yield from measure(stand)


def measure_files(stand: Stand) -> Iterator[Section]:
    """The large file: whole, and in ranges."""
    size, gib = stand.content.large_bytes, stand.content.large_bytes / 2**30
    stand.ours.forget_peak()
    mib = size // MIB
    asked = {
        "whole": (f"GET of {mib} MiB", 1.0, [[None]]),
        "ranges": (
            f"{RANGES} ranges of {mib // RANGES} MiB at once",
            0.9,
            slices(size, RANGES),
        ),
        "pieces": (
            f"ranges of 1 MiB, {CONNECTIONS} connections",
            1.0,
            pieces(size, MIB, CONNECTIONS),
        ),
    }

    def measure(ranges: object, name: str) -> float:
        return mib / drain(stand.base(name) + LARGE, ranges)  # type: ignore[arg-type]

    kinds = {
        kind: (
            Comparison(what, NGINX, "MiB/s", "more", ratio),
            partial(measure, ranges),
        )
        for kind, (what, ratio, ranges) in asked.items()
    }
    comparisons = stand.race(kinds)
    figures = [
        Figure(
            f"CPU of {name}, {asked[kind][0]}",
            "s/GiB",
            CPU_S_PER_GIB if name == HUBSYNC and kind != "pieces" else None,
            [spent / gib for spent in stand.cpu[kind, name]],
        )
        for kind in kinds
        for name in (HUBSYNC, NGINX)
    ]
    peak = stand.ours.rss_mib(peak=True)
    figures.append(Figure("peak memory of hubsync", "MiB", RSS_MAX_MIB, [peak]))
    yield Section("serve: a large file, which is in memory", comparisons, figures)


def measure_requests(stand: Stand) -> Iterator[Section]:
    """Headers, a small file, and what the API says."""
    answered: dict[tuple[str, str], list[float]] = {}

    def measure(method: str, name: str) -> float:
        rate = fast_rate(
            stand.base(name) + SMALL,
            method,
            stand.runner,
            connections=CONNECTIONS,
            seconds=stand.load_s,
        )
        answered.setdefault((method, name), []).append(rate * stand.load_s)
        return rate

    kinds = {
        "HEAD": (
            Comparison("HEAD resolve", NGINX, "/s", "more", 0.2),
            partial(measure, "HEAD"),
        ),
        "GET": (
            Comparison(f"GET of {SMALL_BYTES} B", NGINX, "/s", "more", 0.2),
            partial(measure, "GET"),
        ),
    }
    comparisons = stand.race(kinds)
    figures = []
    for kind in kinds:
        for name in (HUBSYNC, NGINX):
            spent = stand.cpu[kind, name]
            counts = answered[kind, name][-len(spent) :]  # without the warm-up
            each = [1e6 * s / n for s, n in zip(spent, counts, strict=True)]
            figures.append(Figure(f"CPU of {name} a {kind}", "us", values=each))
    notes = [LOOKUPS]
    notes += [said_missing(one) for one in ("wrk", "ab") if not find(one)]
    if len(notes) > 1:
        notes.append("Without them a client in Python is the limit of nginx.")
    yield Section(
        f"serve: requests on {CONNECTIONS} connections",
        comparisons,
        [*figures, *_trees(stand)],
        notes,
    )


def _trees(stand: Stand) -> Iterator[Figure]:
    """A list of very many files: kept from before, and built anew."""
    files = stand.plan.sizes["tree_files"]
    url = f"{stand.ours.url}/api/models/{TREE_REPO}/tree/main?recursive=true"
    # Pages by cursor are never kept; this one has all files but the first few.
    limit = files - 5
    following = get_next(f"{url}&limit=5") + f"&limit={limit}"
    for what, one in (("kept", url), ("built each time", following)):
        figure = Figure(f"tree of {files} files, {what}", "/s")
        for _ in range(stand.plan.rounds):
            rate = fast_rate(
                one, "GET", stand.runner, connections=CONNECTIONS, seconds=stand.load_s
            )
            figure.values.append(rate)
        yield figure


PARTS: dict[str, Callable[[Stand], Iterator[Section]]] = {
    "files": measure_files,
    "requests": measure_requests,
    "latency": measure_latency,
    "slow-clients": measure_slow_clients,
    "tls": measure_tls,
    "snapshot": measure_snapshot,
    "olah": measure_olah,
}
GROUP = Group(
    "serve",
    tuple(PARTS),
    {
        "serve_mib": Size(2048, 16, "MiB of the large file that is served"),
        "snapshot_mib": Size(64, 1, "MiB of each large file that a client downloads"),
        "tree_files": Size(1000, 30, "files of a repo whose tree is listed"),
        "slow_clients": Size(300, 10, "clients that read slowly"),
    },
    sections,
)

if __name__ == "__main__":
    sys.exit(main([GROUP]))
