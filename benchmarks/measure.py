"""What is measured, and how it is told."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

Better = Literal["less", "more"]
T = TypeVar("T")


class BenchmarkError(Exception):
    """Something that is measured did not do its work."""


class NotInstalledError(BenchmarkError):
    """A program that the measurement cannot do without is not there."""


@dataclass(slots=True)
class Comparison:
    """Pairs of neighbouring values: hubsync's, and somebody else's."""

    what: str
    against: str
    unit: str
    better: Better
    asked: float | None = None  # the ratio that hubsync is to reach
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
    def ratio(self) -> float:
        """The median of each round's ratio, not the ratio of two medians."""
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool | None:
        return None if self.asked is None else self.ratio >= self.asked

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
            "asked": self.asked,
            "is_met": self.is_met,
            "ratio_median": self.ratio,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "hubsync_median": self.ours,
            "other_median": self.theirs,
            "pairs": self.pairs,
        }


@dataclass(slots=True)
class Figure:
    """A value that stands for itself."""

    what: str
    unit: str
    at_most: float | None = None  # what hubsync is to stay below
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        return None if self.at_most is None else self.median <= self.at_most

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "unit": self.unit,
            "at_most": self.at_most,
            "is_met": self.is_met,
            "median": self.median,
            "values": self.values,
        }


@dataclass(slots=True)
class Section:
    """What was measured together."""

    title: str
    comparisons: Sequence[Comparison] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "comparisons": [one.as_json() for one in self.comparisons],
            "figures": [one.as_json() for one in self.figures],
            "notes": list(self.notes),
        }


def compared(
    what: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    asked: float | None = None,
) -> Comparison:
    """Seconds of the same rounds."""
    return Comparison(
        what, against, "s", "less", asked, list(zip(ours, theirs, strict=True))
    )


def rounds(count: int, seconds_max: float) -> Iterator[int]:
    """Up to *count* rounds, at least one, none begun after *seconds_max*."""
    until = time.monotonic() + seconds_max
    for number in range(count):
        if number and time.monotonic() > until:
            return
        yield number


def alternating(number: int, runs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Do each of *runs*, in turn forwards and backwards; what each returned."""
    names = list(runs)
    return {name: runs[name]() for name in (names if number % 2 else names[::-1])}


def warm(folder: Path, size_bytes: int) -> None:
    """Have memory for *size_bytes* of page cache that is the machine's own.

    A virtual machine's host takes back what is free for some seconds; who writes
    first after that pays for it: five times the CPU time, measured.
    """
    scratch, block = folder / "warm", bytes(2**20)
    with scratch.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, len(block)):
            file.write(block)
    scratch.unlink()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def drop_cached(*paths: Path) -> None:
    """Have the next reader of *paths* wait for the disk."""
    for path in paths:
        if path.exists():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def settle() -> None:
    """Nobody shall pay for what another has left to be written."""
    with contextlib.suppress(OSError):
        os.sync()
