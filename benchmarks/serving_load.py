"""How the server is while it has much to do: what others wait, what it takes."""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.commands import clean_environment
from benchmarks.content import LARGE, REPO, SMALL
from benchmarks.load import drain, slices
from benchmarks.measure import (
    Comparison,
    Figure,
    Section,
    drop_cached,
    percentile,
    rounds,
    settle,
)
from benchmarks.stand import HUBSYNC, NGINX, Stand, start_probe, waited

TRANSFERS = 16
RSS_MAX_MIB = 120
NICE = 15  # of those who transfer: the one that watches must not wait for them
SLOWER = 3  # times what it is idle, and no more
ABOUT_WAITING = """\
nginx: a small file in place of an API answer.  The clients that transfer and the
one that watches share what cores the server leaves: part of the waiting is theirs."""


def measure_latency(stand: Stand) -> Iterator[Section]:
    """Of API answers, while transfers of what is not in memory are running."""
    api = f"{stand.ours.url}/api/models/{REPO}/revision/main"
    urls = {HUBSYNC: (api, stand.base(HUBSYNC)), NGINX: ("", stand.base(NGINX))}
    urls[NGINX] = (urls[NGINX][1] + SMALL, urls[NGINX][1])
    times = "idle", "16 transfers from memory", "16 transfers from the disk"
    p99 = {
        (name, when): Figure(f"{name}: 99 % of answers, {when}", "ms")
        for name in (HUBSYNC, NGINX)
        for when in times
    }
    ratio = Comparison(
        "99 % of API answers, 16 transfers from the disk",
        "idle",
        "ms",
        "less",
        1 / SLOWER,
    )
    for _ in rounds(stand.plan.rounds, stand.plan.seconds_max):
        for name, (asked, base) in urls.items():
            for when in times:
                found = _watch(stand, asked, base, when)
                p99[name, when].values.append(percentile(found, 0.99))
        during, idle = (p99[HUBSYNC, when].values[-1] for when in (times[2], times[0]))
        ratio.add(during, idle)
    yield Section(
        "serve: what an API client waits meanwhile",
        [ratio],
        list(p99.values()),
        notes=[ABOUT_WAITING],
    )


def _watch(stand: Stand, asked: str, base: str, when: str) -> list[float]:
    probe = start_probe(asked, stand.watch_s)
    asked_ranges = slices(stand.content.large_bytes, TRANSFERS)
    while when != "idle" and probe.poll() is None:
        if when.endswith("disk"):
            drop_cached(stand.content.large.resolve())
        drain(base + LARGE, asked_ranges, nice=NICE)
    return [*waited(probe)]


def measure_slow_clients(stand: Stand) -> Iterator[Section]:
    """Many that read little: memory, and what others wait."""
    count = stand.plan.sizes["slow_clients"]
    seconds = 1 + 2 * stand.watch_s
    api = f"{stand.ours.url}/api/models/{REPO}/revision/main"
    peak = Figure("peak memory of hubsync", "MiB", RSS_MAX_MIB)
    idle = Figure("99 % of API answers, idle", "ms")
    during = Figure("99 % of API answers meanwhile", "ms")
    spent = Figure("CPU of hubsync meanwhile", "% of a core")
    settle()
    for _ in rounds(stand.plan.rounds, stand.plan.seconds_max):
        idle.values.append(percentile(waited(start_probe(api, stand.watch_s)), 0.99))
        stand.ours.forget_peak()
        command = [sys.executable, "-m", "benchmarks.slow_clients"]
        command += [stand.base(HUBSYNC) + LARGE, str(count), str(seconds)]
        with subprocess.Popen(
            command, env=clean_environment({}), stdout=subprocess.PIPE, text=True
        ) as clients:
            assert clients.stdout
            assert clients.stdout.readline(), "the slow clients got no answer"
            before = stand.ours.cpu_seconds()
            found = waited(start_probe(api, stand.watch_s))
            cpu = stand.ours.cpu_seconds() - before
        spent.values.append(100 * cpu / stand.watch_s)
        during.values.append(percentile(found, 0.99))
        peak.values.append(stand.ours.rss_mib(peak=True))
    yield Section(
        f"serve: {count} clients that read 0.6 MB/s each",
        figures=[peak, idle, during, spent],
    )
