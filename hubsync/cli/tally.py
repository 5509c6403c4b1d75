"""What a transfer has come to, as numbers.  Pure: the clock is handed in."""

from collections import deque
from dataclasses import dataclass, field
from heapq import nlargest

RATE_WINDOW_S = 5.0


@dataclass(slots=True)
class Speed:
    """Bytes a second over the last seconds."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def at(self, now_s: float, size_bytes: int) -> float | None:
        """*size_bytes* have come by now.  None while there is too little to tell."""
        samples = self._samples
        samples.append((now_s, size_bytes))
        while len(samples) > 2 and samples[1][0] <= now_s - RATE_WINDOW_S:  # noqa: PLR2004 - two ends
            samples.popleft()
        since, before = samples[0]
        if now_s <= since or not size_bytes:
            return None
        return max(size_bytes - before, 0) / (now_s - since)


@dataclass(slots=True)
class InFlight:
    """One file that has begun and is not done."""

    size_bytes: int
    there: int


@dataclass(slots=True)
class Tally:
    """Sums over all files of a run.

    *arrived* counts bytes that an earlier run had left (*resumed*) as well, so
    that it ends at *size_bytes*.
    """

    files: int = 0
    size_bytes: int = 0
    reused_files: int = 0
    reused_bytes: int = 0
    arrived: int = 0
    resumed: int = 0
    verified: int = 0
    files_done: int = 0
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    _speed: Speed = field(default_factory=Speed)

    def started(self, path: str, size_bytes: int, offset: int) -> None:
        self.in_flight[path] = InFlight(size_bytes, offset)
        self.arrived += offset
        self.resumed += offset

    def advanced(self, path: str, size_bytes: int) -> None:
        self.arrived += size_bytes
        if file := self.in_flight.get(path):
            file.there += size_bytes

    def done(self, path: str) -> InFlight | None:
        self.files_done += 1
        return self.in_flight.pop(path, None)

    def rate(self, now_s: float) -> float | None:
        """Bytes a second over the last seconds; what was resumed is no speed."""
        return self._speed.at(now_s, self.arrived - self.resumed)

    def eta_s(self, rate_bytes_per_s: float | None) -> float | None:
        """Seconds to go at that rate."""
        if not rate_bytes_per_s:
            return None
        return max(self.size_bytes - self.arrived, 0) / rate_bytes_per_s

    def largest(self, count: int, *, least_bytes: int = 0) -> list[str]:
        """The paths of the largest files in flight, largest first."""
        of_size = (
            (file.size_bytes, path)
            for path, file in self.in_flight.items()
            if file.size_bytes >= least_bytes
        )
        # By name among equals, so that bars do not change places.
        smallest_name_first = sorted(of_size, key=lambda one: one[1])
        return [
            path for _, path in nlargest(count, smallest_name_first, lambda one: one[0])
        ]


def format_seconds(seconds: float) -> str:
    """``8 s``, ``3:20``, ``2:03:20``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"
