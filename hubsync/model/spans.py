"""Which bytes of a file are there: sorted, disjoint spans."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""Bytes from the first offset up to, not including, the second."""


class Spans:
    """A set of offsets.  Spans that touch are one."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("spans change: they are no key")

    def __repr__(self) -> str:
        return f"Spans({list(self)})"

    def add(self, start: int, stop: int) -> None:
        """Count the bytes from *start* up to *stop* in."""
        assert 0 <= start <= stop, "a span has a beginning and an end"
        if start == stop:
            return
        # Every span that overlaps or touches the new one becomes part of it.
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def missing(self, size_bytes: int) -> list[Span]:
        """What of ``[0, size_bytes)`` is not in."""
        found = []
        at = 0
        for start, stop in self:
            if min(start, size_bytes) > at:
                found.append((at, min(start, size_bytes)))
            at = stop
        if at < size_bytes:
            found.append((at, size_bytes))
        return found

    @property
    def reach(self) -> int:
        """The end of what is in from offset 0 on without a gap."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    @property
    def total(self) -> int:
        """How many bytes are in."""
        return sum(self._stops) - sum(self._starts)

    @property
    def end(self) -> int:
        """The end of the last span."""
        return self._stops[-1] if self._stops else 0
