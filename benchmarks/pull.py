"""``python -m benchmarks.pull``: pulling beside aria2c and ``hf download``.

Everybody gets the same bytes from the same upstream, in alternation.  hubsync
alone hashes every byte, compares it with what the hub says, and syncs it to the
disk before it says that it has it; that is in its time.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import BenchmarkError, clean_environment, settle
from benchmarks.upstream import Upstream

MIB, GIB = 2**20, 2**30
BIG, MANY = "bench/large", "bench/many"
WEIGHTS = "weights.bin"
SLOW_RATE, SLOW_DELAY_S = 20e6, 0.040


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    rss_bytes: int
    status: int
    said: str


class Runner:
    """Runs commands from a small process: see `benchmarks.runner`."""

    def __init__(self) -> None:
        # Without the project's environment: it must stay small.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: list[str], environment: Mapping[str, str]) -> Run:
        assert self._process.stdin
        assert self._process.stdout
        asked = {"command": command, "environment": clean_environment(environment)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        done = Run(**json.loads(self._process.stdout.readline()))
        if done.status:
            raise BenchmarkError(f"`{' '.join(command)}`: {done.status}\n{done.said}")
        return done

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@dataclass(slots=True)
class Tools:
    """The commands that are compared, each into an empty folder of its own."""

    runner: Runner
    upstream: Upstream
    folder: Path

    def fresh(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        settle()
        return self.folder

    def hubsync(self, repo: str, *, keep: bool = False) -> Run:
        root = (self.folder if keep else self.fresh()) / "store"
        return self.runner.run(
            [sys.executable, "-m", "hubsync", "pull", repo, "--root", str(root), "-q"],
            {
                "HF_ENDPOINT": self.upstream.hub.endpoint,
                # The reserve must not end a benchmark on a small disk.
                "HUBSYNC_STORE__RESERVE": "0",
                "SSL_CERT_FILE": str(self.upstream.certificate),
            },
        )

    def hf(self, repo: str, *, keep: bool = False) -> Run:
        home = (self.folder if keep else self.fresh()) / "hf"
        beside = Path(sys.executable).with_name("hf")
        return self.runner.run(
            [str(beside), "download", repo],
            {"HF_ENDPOINT": self.upstream.hub.endpoint, "HF_HOME": str(home)},
        )

    def aria2c(self, url: str, *more: str) -> Run:
        folder = self.fresh()
        return self.runner.run(
            [
                *("aria2c", "-q", "--no-conf", "-x16", "-s16", "-k1M"),
                *("--file-allocation=none", "--allow-overwrite=true"),
                *(f"--ca-certificate={self.upstream.certificate}", *more),
                *("-d", str(folder), "-o", "floor", url),
            ],
            {},
        )


@dataclass(slots=True)
class Table:
    """Figures of alternating rounds, and what is asked of them."""

    rows: list[str] = field(default_factory=list)

    def ratio(
        self, what: str, ours: list[float], theirs: list[float], target: float
    ) -> None:
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        self.rows.append(
            f"{what:<46} {statistics.median(ratios):6.2f}x "
            f"({min(ratios):.2f}-{max(ratios):.2f}, {len(ratios)} rounds; "
            f"{statistics.median(ours):.2f} s to {statistics.median(theirs):.2f} s; "
            f"asked: {target}x)"
        )

    def figure(self, what: str, values: list[float], unit: str, target: str) -> None:
        self.rows.append(
            f"{what:<46} {statistics.median(values):6.2f} {unit} "
            f"({min(values):.2f}-{max(values):.2f}; asked: {target})"
        )

    def text(self, what: str, value: str) -> None:
        self.rows.append(f"{what:<46} {value}")

    def show(self, title: str) -> None:
        print(f"\n{title}")
        for row in self.rows:
            print(f"  {row}")
        self.rows.clear()
        sys.stdout.flush()


def alternate(
    rounds: int, runs: Mapping[str, Callable[[], Run]]
) -> dict[str, list[Run]]:
    """Each of *runs*, in turn forwards and backwards, after one that warms up."""
    found: dict[str, list[Run]] = {name: [] for name in runs}
    names = list(runs)
    for name in names:
        runs[name]()
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            found[name].append(runs[name]())
    return found


def seconds(runs: list[Run]) -> list[float]:
    return [one.seconds for one in runs]


def unthrottled(tools: Tools, rounds: int, size: int, sha256: str) -> None:
    up, table = tools.upstream, Table()
    up.hub.cdn_endpoint = up.plain
    url = up.url(BIG, WEIGHTS)
    found = alternate(
        rounds,
        {
            "hubsync": lambda: tools.hubsync(BIG),
            "aria2c": lambda: tools.aria2c(url),
            "checksum": lambda: tools.aria2c(url, f"--checksum=sha-256={sha256}"),
            "hf": lambda: tools.hf(BIG),
        },
    )
    ours = found["hubsync"]
    table.ratio("aria2c -x16, unverified", seconds(ours), seconds(found["aria2c"]), 1.4)
    table.ratio("aria2c -x16 --checksum", seconds(ours), seconds(found["checksum"]), 4)
    table.ratio("hf download", seconds(ours), seconds(found["hf"]), 3)
    gib = size / GIB
    table.figure(
        "CPU of hubsync", [one.cpu_seconds / gib for one in ours], "s/GiB", "<= 2.2"
    )
    for name in ("aria2c", "checksum", "hf"):
        cpu = [one.cpu_seconds / gib for one in found[name]]
        table.figure(f"CPU of {name}", cpu, "s/GiB", "-")
    memory = [one.rss_bytes / MIB for one in ours]
    table.figure("peak memory of hubsync", memory, "MiB", "<= 100")
    table.show(f"(a) one file of {size // MIB} MiB, nothing in the way")


def many_files(tools: Tools, rounds: int, count: int) -> None:
    up, table = tools.upstream, Table()
    up.hub.cdn_endpoint = up.plain
    found = alternate(
        rounds, {"hubsync": lambda: tools.hubsync(MANY), "hf": lambda: tools.hf(MANY)}
    )
    table.ratio("hf download", seconds(found["hubsync"]), seconds(found["hf"]), 3)
    memory = [one.rss_bytes / MIB for one in found["hubsync"]]
    table.figure("peak memory of hubsync", memory, "MiB", "<= 100")
    table.show(f"(a) {count} files of 100 kB")


def over_tls(tools: Tools, rounds: int) -> None:
    up, table = tools.upstream, Table()
    up.hub.cdn_endpoint = up.tls
    url = up.url(BIG, WEIGHTS)
    runs = {"hubsync": lambda: tools.hubsync(BIG), "aria2c": lambda: tools.aria2c(url)}
    found = alternate(rounds, runs)
    ours, theirs = seconds(found["hubsync"]), seconds(found["aria2c"])
    table.ratio("aria2c -x16, unverified", ours, theirs, 1.15)
    table.show("(a) the same over TLS")


def throttled(tools: Tools, rounds: int, sizes: tuple[int, int]) -> None:
    up, table = tools.upstream, Table()
    up.hub.cdn_endpoint = up.slow
    url = up.url(BIG, WEIGHTS)
    runs = {"hubsync": lambda: tools.hubsync(BIG), "aria2c": lambda: tools.aria2c(url)}
    found = alternate(rounds, runs)
    ours, theirs = seconds(found["hubsync"]), seconds(found["aria2c"])
    table.ratio("aria2c -x16, unverified", ours, theirs, 1.0)
    # One connection takes minutes for the large file: the rates are compared.
    large, small = sizes
    hf = tools.hf("bench/small").seconds
    ours_s = statistics.median(ours)
    ratio = (large / ours_s) / (small / hf)
    table.text(
        "hf download, by rate",
        f"{ratio:6.2f}x ({large / ours_s / MIB:.0f} MiB/s to {small / hf / MIB:.0f} "
        f"MiB/s of a file of {small // MIB} MiB, one run; asked: 4x)",
    )
    table.show("(b) 20 MB/s on each connection, 40 ms away")


def again(tools: Tools, rounds: int) -> None:
    up = tools.upstream
    up.hub.cdn_endpoint = up.plain
    repo = up.hub.world.find("model", MANY)[0]
    assert repo
    for what in ("unchanged", "README changed"):
        table = Table()
        found: dict[str, list[Run]] = {"hubsync": [], "hf": []}
        asked: dict[str, list[int]] = {"hubsync": [], "hf": []}
        for name, pull in (("hubsync", tools.hubsync), ("hf", tools.hf)):
            pull(MANY)
            for number in range(rounds):
                if what != "unchanged":
                    repo.commit({"README.md": b"# %s %d\n" % (name.encode(), number)})
                up.hub.log.clear()
                found[name].append(pull(MANY, keep=True))
                asked[name].append(len(up.hub.log.matching(role="hub")))
        table.ratio("hf download", seconds(found["hubsync"]), seconds(found["hf"]), 1.0)
        table.text(
            "requests to the hub",
            f"{statistics.median(asked['hubsync']):.0f} to "
            f"{statistics.median(asked['hf']):.0f}",
        )
        table.show(f"(c) pull of the many files again, {what}")


def make(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size)))
    return path


def prepare(up: Upstream, work: Path, size: int, small: int, count: int) -> str:
    """Make the repos; the sha256 of the large file."""
    source = work / "source"
    source.mkdir()
    big = up.publish(
        BIG, {WEIGHTS: make(source / "big", size)}, {"README.md": b"# a\n"}
    )
    up.publish("bench/small", {WEIGHTS: make(source / "small", small)}, {})
    files = {
        f"part-{number:03}.bin": make(source / f"{number}", 100_000)
        for number in range(count)
    }
    up.publish(MANY, files, {"README.md": b"# many\n"})
    shutil.rmtree(source)
    commit = big.resolve("main")
    assert commit
    entry = big.listing(commit).file(WEIGHTS)
    assert entry
    assert entry.lfs
    return entry.lfs.sha256


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pull")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="does it run at all?")
    parser.add_argument("--only", choices=["a", "many", "tls", "b", "c"])
    parser.add_argument("--dir", type=Path, help="where the temporary folder goes")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.size_mib, args.files = 1, 32, 10
    if shutil.which("aria2c") is None:
        sys.stderr.write("aria2c is not installed (Debian: aria2)\n")
        return 1
    size, small = args.size_mib * MIB, min(args.size_mib, 128) * MIB
    with tempfile.TemporaryDirectory(prefix="hubsync-bench-", dir=args.dir) as name:
        work = Path(name)
        with Upstream(work) as up:
            sha256 = prepare(up, work, size, small, args.files)
            up.start_slow(SLOW_RATE, SLOW_DELAY_S)
            tools = Tools(Runner(), up, work / "pull")
            print(f"{os.cpu_count()} cores; above 1x, hubsync is faster", flush=True)
            parts: dict[str, Callable[[], None]] = {
                "a": lambda: unthrottled(tools, args.rounds, size, sha256),
                "many": lambda: many_files(tools, args.rounds, args.files),
                "tls": lambda: over_tls(tools, args.rounds),
                "b": lambda: throttled(tools, max(args.rounds - 2, 1), (size, small)),
                "c": lambda: again(tools, args.rounds),
            }
            for part, measure in parts.items():
                if args.only in (None, part):
                    measure()
            tools.runner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
