"""Running things and comparing what they took."""

import contextlib
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

COMMAND_TIMEOUT_S = 120.0
Better = Literal["less", "more"]


class BenchmarkError(Exception):
    """Something that is measured did not do its work."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    rss_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run *command* to its end; how long it took and its peak memory.

    Raises:
        BenchmarkError: it failed, or did not end.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=clean_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        killer = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
        killer.start()
        try:
            # Not wait(): only wait4 tells the memory of this one child.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")[-2000:]
            raise BenchmarkError(
                f"`{' '.join(command)}` ended with {process.returncode}:\n{text}"
            )
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu_seconds, usage.ru_maxrss * 1024)


def own_peak_bytes() -> int:
    """Linux counts what we had at the fork as the child's: its floor."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without settings that would lead a client elsewhere."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUBSYNC_", "HUGGING_FACE_"))
        and not key.lower().endswith("_proxy")
    }
    kept |= {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    return {**kept, **more}


@dataclass(slots=True)
class Comparison:
    """Pairs of neighbouring values: hubsync's, and somebody else's."""

    what: str
    against: str
    unit: str
    better: Better
    note: str = ""
    pairs: list[tuple[float, float]] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        self.pairs.append((ours, theirs))

    @property
    def ratios(self) -> list[float]:
        """How many times as good we were: 2 is twice as fast, or half as large."""
        if self.better == "more":
            return [ours / theirs for ours, theirs in self.pairs]
        return [theirs / ours for ours, theirs in self.pairs]

    @property
    def ours(self) -> float:
        return statistics.median(ours for ours, _ in self.pairs)

    @property
    def theirs(self) -> float:
        return statistics.median(theirs for _, theirs in self.pairs)

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "against": self.against,
            "unit": self.unit,
            "better": self.better,
            "note": self.note,
            "ratio_median": statistics.median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "hubsync_median": self.ours,
            "other_median": self.theirs,
            "pairs": self.pairs,
        }


def rounds(count: int, until: float) -> Iterator[int]:
    """Up to *count* rounds, at least one, none begun after *until* (monotonic)."""
    for number in range(count):
        if number and time.monotonic() > until:
            return
        yield number


def alternating(
    number: int, runs: Mapping[str, Callable[[], float]]
) -> dict[str, float]:
    """Do each of *runs*, in turn forwards and backwards; what each returned."""
    names = list(runs)
    return {name: runs[name]() for name in (names if number % 2 else names[::-1])}


def settle() -> None:
    """Nobody shall pay for what another has left to be written."""
    with contextlib.suppress(OSError):
        os.sync()
