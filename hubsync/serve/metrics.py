"""Counting what is served, over all worker processes.

Each process adds to a board of its own in memory that all of them share, and
whoever is asked adds the boards up.  The labels of a family are known beforehand:
a client cannot make new ones, and to count is to add to a number in an array.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from multiprocessing import get_context
from typing import Any, Literal

from hubsync.serve.routing import VERBS

OTHER = "other"
METHODS = ("GET", "HEAD", "POST", "OPTIONS", OTHER)
ROUTES = (
    *("resolve", "raw", "info", "list", *VERBS),
    *("/", "healthz", "readyz", "metrics", "whoami-v2", "agent-harnesses"),
    *("collections", "v2", "xet", OTHER),
)
STATUSES = (
    *("200", "204", "206", "302", "304", "307"),
    *("400", "401", "403", "404", "405", "408", "412", "413", "416", "429", "499"),
    *("500", "502", "503", "504", OTHER),
)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0)


@dataclass(frozen=True)
class Family:
    """One metric, by its name without ``_total``; each label has its few values.

    A *gauge* is what one process has now: it begins at 0 when a worker is
    started again, while its counters go on.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def width(self) -> int:
        """Numbers for one set of label values: a histogram has buckets and a sum."""
        return len(BUCKETS_S) + 2 if self.kind == "histogram" else 1

    @cached_property
    def places(self) -> dict[tuple[str, ...], int]:
        """Label values to the offset of their first number."""
        names = product(*(values for _, values in self.labels))
        return {values: at * self.width for at, values in enumerate(names)}


REQUESTS = Family(
    "hubsync_http_requests",
    "counter",
    "Requests answered.",
    (("method", METHODS), ("route", ROUTES), ("status", STATUSES)),
)
DURATION = Family(
    "hubsync_http_request_duration_seconds",
    "histogram",
    "From a request's headers to the end of its answer.",
    (("route", ROUTES),),
)
SENT = Family(
    "hubsync_http_response_bytes",
    "counter",
    "Bytes of answers' bodies that were sent.",
    (("route", ROUTES),),
)
IN_FLIGHT = Family(
    "hubsync_http_requests_in_flight", "gauge", "Requests being answered now."
)
CONNECTIONS = Family("hubsync_http_connections", "gauge", "Connections open now.")
REFUSED = Family(
    "hubsync_http_connections_refused",
    "counter",
    "Connections closed at once, and requests refused, for being too many.",
    (("limit", ("all", "client")),),
)
RESTARTS = Family(
    "hubsync_worker_restarts", "counter", "Workers started again after they died."
)
# The order is that of the numbers on a board.
FAMILIES = (REQUESTS, DURATION, SENT, IN_FLIGHT, CONNECTIONS, REFUSED, RESTARTS)


def _offsets() -> Iterator[tuple[Family, int]]:
    at = 0
    for family in FAMILIES:
        yield family, at
        at += len(family.places) * family.width


_OFFSETS = dict(_offsets())
_PID = sum(len(family.places) * family.width for family in FAMILIES)
_LENGTH = _PID + 1  # the last is whose board it is
Boards = Sequence[Any]  # of shared arrays of doubles, one a process


def make_boards(processes: int) -> Boards:
    """Boards for as many processes; they may be given to a spawned one."""
    shared = get_context("spawn")
    return [shared.RawArray("d", _LENGTH) for _ in range(processes)]


class Metrics:
    """Counts on the board of one process, and reads those of all.

    For the event loop's thread: two threads that add at once may lose one.
    """

    def __init__(self, boards: Boards | None = None, own: int = 0) -> None:
        boards = [_plain(board) for board in boards or [bytearray(8 * _LENGTH)]]
        self._boards, self._own = boards, boards[own]
        self._requests = _OFFSETS[REQUESTS]
        self._duration = _OFFSETS[DURATION]
        self._sent = _OFFSETS[SENT]
        self._in_flight = _OFFSETS[IN_FLIGHT]
        for family in (one for one in FAMILIES if one.kind == "gauge"):
            for at in family.places.values():
                self._own[_OFFSETS[family] + at] = 0.0

        self._own[_PID] = os.getpid()

    def began(self) -> None:
        """A request has come."""
        self._own[self._in_flight] += 1

    def ended(
        self, method: str, route: str, status: int, elapsed_s: float, sent_bytes: int
    ) -> None:
        """It is answered: *route* names one of `ROUTES`, any other is "other"."""
        own = self._own
        own[self._in_flight] -= 1
        route = route if (route,) in SENT.places else OTHER
        place = REQUESTS.places.get((method, route, str(status)))
        if place is None:
            method = method if method in METHODS else OTHER
            text = str(status) if str(status) in STATUSES else OTHER
            place = REQUESTS.places[method, route, text]
        own[self._requests + place] += 1
        own[self._sent + SENT.places[(route,)]] += sent_bytes
        first = self._duration + DURATION.places[(route,)]
        own[first + bisect_left(BUCKETS_S, elapsed_s)] += 1
        own[first + len(BUCKETS_S) + 1] += elapsed_s

    def connections(self, count: int) -> None:
        self._own[_OFFSETS[CONNECTIONS]] = count

    def refused(self, limit: str) -> None:
        self.add(REFUSED, limit)

    def processes(self) -> Mapping[str, int]:
        """Our processes that have counted so far, by what to call them."""
        last = len(self._boards) - 1
        names = [*map(str, range(last)), "parent" if last else "0"]
        pids = (int(board[_PID]) for board in self._boards)
        return {name: pid for name, pid in zip(names, pids, strict=True) if pid}

    def add(self, family: Family, *labels: str, count: float = 1) -> None:
        """Add to one of *family*'s numbers; *labels* are values that it has."""
        assert family.kind != "histogram", family.name
        self._own[_OFFSETS[family] + family.places[labels]] += count

    def numbers(self, family: Family) -> Iterator[tuple[tuple[str, ...], list[float]]]:
        """Label values and their numbers, summed over all processes, if any is not 0.

        One number; of a histogram those of each bucket, what lies above them, and
        the sum.
        """
        for labels, place in family.places.items():
            start = _OFFSETS[family] + place
            found = [
                sum(board[at] for board in self._boards)
                for at in range(start, start + family.width)
            ]
            if any(found) or not family.labels:
                yield labels, found


def _plain(board: Any) -> "memoryview[float]":
    """A view whose numbers are Python's: ctypes' own are slower to add to."""
    return memoryview(board).cast("B").cast("d")
