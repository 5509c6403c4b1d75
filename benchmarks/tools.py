"""The commands that pull, each into an empty folder."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.command import Plan
from benchmarks.commands import Run, Runner, find, hubsync, said_missing
from benchmarks.measure import alternating, rounds, settle, warm
from benchmarks.upstream import Upstream

HUBSYNC, HF = "hubsync", "hf download"
ARIA2C, CHECKSUM = "aria2c -x16 -s16", "aria2c --checksum"
CURL = "curl, one connection"


class Tools:
    """All that may be compared.  Those that are not installed have a note."""

    def __init__(
        self, runner: Runner, upstream: Upstream, work: Path, most_bytes: int
    ) -> None:
        """*most_bytes*: as much as any of the repos has."""
        self._runner, self._upstream = runner, upstream
        self._most_bytes = most_bytes
        self._folder, self._kept = work / "pull", work / "kept"
        self.notes = [said_missing(one) for one in ("aria2c", "curl") if not find(one)]

    @contextmanager
    def cleaned_up(self) -> Iterator[Self]:
        try:
            yield self
        finally:
            for folder in (self._folder, self._kept):
                shutil.rmtree(folder, ignore_errors=True)

    def hubsync(self, repo: str, *, keep: bool = False) -> Run:
        """With every byte hashed, compared and synced to the disk."""
        root = self._where(keep=keep) / "store"
        return self._runner.run(
            hubsync("pull", repo, "--root", str(root), "-q"),
            {
                "HF_ENDPOINT": self._upstream.endpoint,
                "SSL_CERT_FILE": str(self._upstream.certificate),
            },
        )

    def hf(self, repo: str, *, keep: bool = False) -> Run:
        home = self._where(keep=keep) / "hf"
        # The one beside our interpreter: the same Python, the same packages.
        return self._runner.run(
            [str(Path(sys.executable).with_name("hf")), "download", repo],
            {"HF_ENDPOINT": self._upstream.endpoint, "HF_HOME": str(home)},
        )

    def aria2c(self, url: str, *more: str) -> Run:
        where = ("-d", str(self._where()), "-o", "file", url)
        return self._runner.run(
            [*self._aria2c(), "-x16", "-s16", "-k1M", *more, *where]
        )

    def aria2c_all(self, urls: Sequence[str]) -> Run:
        """Many files, sixteen at once."""
        folder = self._where()
        listed = folder / "urls"
        listed.write_text("".join(f"{url}\n" for url in urls))
        return self._runner.run(
            [*self._aria2c(), "-j16", "-x16", "-d", str(folder), "-i", str(listed)]
        )

    def _aria2c(self) -> list[str]:
        certificate = f"--ca-certificate={self._upstream.certificate}"
        return [
            *("aria2c", "-q", "--no-conf", "--file-allocation=none", certificate),
        ]

    def curl(self, url: str) -> Run:
        file, certificate = self._where() / "file", self._upstream.certificate
        return self._runner.run(
            ["curl", "-sfL", "--cacert", str(certificate), "-o", str(file), url]
        )

    def _where(self, *, keep: bool = False) -> Path:
        """An empty folder, or the one that was kept; the last run's is deleted."""
        shutil.rmtree(self._folder, ignore_errors=True)
        folder = self._kept if keep else self._folder
        folder.mkdir(exist_ok=True)
        settle()
        warm(folder, self._most_bytes)
        return folder


@dataclass(frozen=True, slots=True)
class Race:
    """The runs of each tool, in the order of the rounds."""

    runs: Mapping[str, Sequence[Run]]

    def seconds(self, name: str) -> list[float]:
        return [one.seconds for one in self.runs[name]]

    def __contains__(self, name: str) -> bool:
        return name in self.runs


def race(plan: Plan, tools: Mapping[str, Callable[[], Run]]) -> Race:
    """Each of *tools* in turn forwards and backwards, after one warm-up each.

    Those whose program is not installed do not take part.
    """
    there = {name: run for name, run in tools.items() if _is_installed(name)}
    if not plan.is_quick:
        for run in there.values():
            run()
    runs: dict[str, list[Run]] = {name: [] for name in there}
    for number in rounds(plan.rounds, plan.seconds_max):
        for name, done in alternating(number, there).items():
            runs[name].append(done)
    return Race(runs)


def _is_installed(name: str) -> bool:
    program = name.partition(",")[0].partition(" ")[0]
    return program not in ("aria2c", "curl") or find(program) is not None
