"""Cutting what is missing of a file into parts.  Pure.

The first parts are large, so that few requests are made; the last ones are
small, so that all connections end at the same time and none is left with a
large part of its own.
"""

from collections import deque
from collections.abc import Iterable

from hubsync.model.spans import Span


class Parts:
    """What of one file still has to be asked for, from its beginning on."""

    def __init__(
        self, missing: Iterable[Span], *, bytes_min: int, bytes_max: int
    ) -> None:
        assert 0 < bytes_min <= bytes_max, "a part has bytes"
        self._spans = deque(missing)
        self._min, self._max = bytes_min, bytes_max
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
        size = min(max(fair, self._min), self._max)
        if stop - start - size >= self._min:  # no crumb is left over
            self._spans.appendleft((start + size, stop))
            stop = start + size
        self.bytes_left -= stop - start
        return start, stop

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
