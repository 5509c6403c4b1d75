"""Cutting what is missing of a file into parts.  Pure.

Most parts are large, so that few requests are made.  The first ones are small,
because the hash follows in order, and waits for the first part while the others
come beside it; and the last ones, so that all connections end at the same time and
none is left with a large part of its own.
"""

from collections import deque
from collections.abc import Iterable

from hubsync.model.spans import Span

RAMP = 3  # times that each connection's part is twice the one before


class Parts:
    """What of one file still has to be asked for, from its beginning on."""

    def __init__(
        self, missing: Iterable[Span], *, bytes_min: int, bytes_max: int
    ) -> None:
        assert 0 < bytes_min <= bytes_max, "a part has bytes"
        self._spans = deque(missing)
        self._min, self._max = bytes_min, bytes_max
        self._taken = 0
        self.bytes_left = sum(stop - start for start, stop in self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def take(self, lanes: int) -> Span | None:
        """The next part, cut for *lanes* connections; None when all are taken.

        In order, because the hash follows behind and memory is then still warm.
        """
        if not self._spans:
            return None
        start, stop = self._spans.popleft()
        fair = self.bytes_left // (2 * max(lanes, 1))
        size = max(min(fair, self._most(lanes)), self._min)
        self._taken += 1
        if stop - start - size >= self._min:  # no crumb is left over
            self._spans.appendleft((start + size, stop))
            stop = start + size
        self.bytes_left -= stop - start
        return start, stop

    def _most(self, lanes: int) -> int:
        """How large the next part may be, one of the first or a later one."""
        return self._max >> max(RAMP - self._taken // max(lanes, 1), 0)

    def give_back(self, spans: Iterable[Span]) -> None:
        """What was taken and did not come."""
        again = sorted(spans)
        self._spans.extendleft(reversed(again))
        self.bytes_left += sum(stop - start for start, stop in again)


def clipped(spans: Iterable[Span], within: Span) -> list[Span]:
    """The parts of *spans* that lie *within*."""
    low, high = within
    cut = ((max(start, low), min(stop, high)) for start, stop in spans)
    return [(start, stop) for start, stop in cut if start < stop]
