"""``hubsync pull`` beside ``hf download``, aria2c and curl, from one loopback hub."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.content import LARGE, MIB, REPO, Content
from benchmarks.measure import (
    Comparison,
    Run,
    alternating,
    own_peak_bytes,
    rounds,
    run,
    settle,
)

HUBSYNC, HF = "hubsync", "hf download"
FLOORS = {
    "curl": ("curl", "-sfo", "{file}", "{url}"),
    "aria2c -x16": (
        *("aria2c", "-q", "--no-conf", "-x16", "-s16", "-k1M"),
        *("--file-allocation=none", "--allow-overwrite=true"),
        *("-d", "{folder}", "-o", "floor", "{url}"),
    ),
    "curl && sync": (
        *("sh", "-c", 'curl -sfo "$1" "$2" && sync "$1"', "sh", "{file}", "{url}"),
    ),
}
NOTES = (
    """\
hubsync verifies: it hashes every byte, compares it with the hub's digest, and
fsyncs every file.  hf, curl and aria2c do none of these; hf compares sizes.""",
    """\
curl and aria2c get the large file only, hubsync and hf the whole repo; the
start of the interpreter is included.""",
)


def compare(
    content: Content, work: Path, *, count: int, until: float
) -> tuple[list[Comparison], list[str]]:
    """All comparisons of pulling, and what there is to say about them."""
    notes = list(NOTES)
    hf = _find_hf()
    if hf is None:
        notes.append("hf is not installed: not compared.")
    floors = {name: args for name, args in FLOORS.items() if _installed(args)}
    notes += [f"{name} is not installed." for name in FLOORS if name not in floors]
    with content.peer.serving() as url:
        pulling = _Pulling(url, work / "pull", hf, floors)
        pulling.warm_up()
        for number in rounds(count, until):
            pulling.round(number)
    if max(pulling.rss[HUBSYNC]) <= own_peak_bytes():
        notes.append("The peak memory shown is this program's own: too low to tell.")
    return pulling.comparisons(), notes


class _Pulling:
    def __init__(
        self, url: str, folder: Path, hf: str | None, floors: dict[str, tuple[str, ...]]
    ) -> None:
        self._url, self._folder, self._hf, self._floors = url, folder, hf, floors
        self.rss: dict[str, list[int]] = {HUBSYNC: [], HF: []}
        self._cpu: dict[str, list[float]] = {HUBSYNC: [], HF: []}
        self._first: list[dict[str, float]] = []
        self._again: list[dict[str, float]] = []

    def warm_up(self) -> None:
        """Bring what is read into memory, ours as well as theirs."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._hubsync()
        if self._hf:
            self._run_hf()

    def round(self, number: int) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        again: dict[str, float] = {}
        runs: dict[str, Callable[[], float]] = {
            HUBSYNC: lambda: self._twice(HUBSYNC, self._hubsync, again)
        }
        if self._hf:
            runs[HF] = lambda: self._twice(HF, self._run_hf, again)
        for name in self._floors:
            runs[name] = lambda name=name: self._floor(name)  # type: ignore[misc]
        self._first.append(alternating(number, runs))
        self._again.append(again)

    def _twice(
        self, name: str, what: Callable[[], Run], again: dict[str, float]
    ) -> float:
        """Into an empty store; then once more, when nothing has changed."""
        settle()
        done = what()
        self.rss[name].append(done.rss_bytes)
        self._cpu[name].append(done.cpu_seconds)
        again[name] = what().seconds
        return done.seconds

    def _hubsync(self) -> Run:
        root = self._folder / "store"
        return run(
            [
                *(sys.executable, "-m", "hubsync", "pull", REPO),
                *("--root", str(root), "--quiet"),
            ],
            # The reserve must not end a benchmark on a small disk.
            {"HF_ENDPOINT": self._url, "HUBSYNC_STORE__RESERVE": "0"},
        )

    def _run_hf(self) -> Run:
        assert self._hf
        return run(
            [self._hf, "download", REPO],
            {"HF_ENDPOINT": self._url, "HF_HOME": str(self._folder / "hf")},
        )

    def _floor(self, name: str) -> float:
        settle()
        file = self._folder / "floor"
        values = {
            "file": str(file),
            "folder": str(self._folder),
            "url": f"{self._url}/{REPO}/resolve/main/{LARGE}",
        }
        done = run([arg.format(**values) for arg in self._floors[name]])
        file.unlink()
        return done.seconds

    def comparisons(self) -> list[Comparison]:
        found = []
        if self._hf:
            found.append(_pairs("pull, empty store", HF, self._first))
            found.append(_pairs("pull again, unchanged", HF, self._again))
        found += [
            _pairs("pull, empty store", name, self._first) for name in self._floors
        ]
        if self._hf:
            cpu = Comparison("CPU time, empty store", HF, "s", "less")
            for pair in zip(self._cpu[HUBSYNC], self._cpu[HF], strict=True):
                cpu.add(*pair)
            memory = Comparison("peak memory, empty store", HF, "MiB", "less")
            for ours, theirs in zip(self.rss[HUBSYNC], self.rss[HF], strict=True):
                memory.add(ours / MIB, theirs / MIB)
            found += [cpu, memory]
        return found


def _pairs(what: str, against: str, taken: list[dict[str, float]]) -> Comparison:
    found = Comparison(what, against, "s", "less")
    for one in taken:
        found.add(one[HUBSYNC], one[against])
    return found


def _find_hf() -> str | None:
    """The one beside our interpreter: the same Python, the same packages."""
    beside = Path(sys.executable).with_name("hf")
    return str(beside) if beside.is_file() else shutil.which("hf")


def _installed(args: tuple[str, ...]) -> bool:
    needed = ("curl", "sync") if args[0] == "sh" else args[:1]
    return all(shutil.which(name) for name in needed)
