"""What a transfer has come to, as numbers.  Pure: the clock is handed in."""

from dataclasses import dataclass, field

RATE_WINDOW_S = 5.0


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
    _samples: list[tuple[float, int]] = field(default_factory=list)

    def started(self, path: str, size_bytes: int, offset: int) -> None:
        self.in_flight[path] = InFlight(size_bytes, offset)
        self.arrived += offset
        self.resumed += offset

    def advanced(self, path: str, size_bytes: int) -> None:
        self.arrived += size_bytes
        if file := self.in_flight.get(path):
            file.there += size_bytes

    def done(self, path: str) -> None:
        self.files_done += 1
        self.in_flight.pop(path, None)

    def rate(self, now_s: float) -> float | None:
        """Bytes a second over the last seconds; None while there is too little."""
        fresh = self.arrived - self.resumed
        self._samples.append((now_s, fresh))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - RATE_WINDOW_S:  # noqa: PLR2004 - two ends
            self._samples.pop(0)
        since, before = self._samples[0]
        if now_s - since <= 0 or fresh <= before:
            return None
        return (fresh - before) / (now_s - since)

    def eta_s(self, rate_bytes_per_s: float | None) -> float | None:
        """Seconds to go at that rate."""
        if not rate_bytes_per_s:
            return None
        return max(self.size_bytes - self.arrived, 0) / rate_bytes_per_s

    def largest(self, count: int) -> list[str]:
        """The paths of the largest files in flight."""
        by_size = sorted(
            self.in_flight, key=lambda path: -self.in_flight[path].size_bytes
        )
        return by_size[:count]


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
