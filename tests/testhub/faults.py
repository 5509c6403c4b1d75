"""Faults that a test orders: which requests they hit, and what they do to them."""

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "status",  # answer *status* with *headers* and *body*
    "html",  # 200 text/html in place of what was asked
    "reset",  # drop the connection before any answer
    "redirect",  # 302 to *location*
    "truncate",  # announce everything, close after *at* bytes
    "flip",  # right length, one bit of byte *at* is wrong
    "longer",  # *at* bytes more than there are, announced so
    "shorter",  # *at* bytes less than there are, announced so
    "no_length",  # no Content-Length, close after *at* bytes
    "ignore_range",  # 200 with everything
    "wrong_range",  # 206 with a Content-Range that is off by one
    "stall",  # *at* bytes, then silence until the client leaves
    "slow",  # *rate* bytes a second
    "expire",  # the CDN takes the signature for expired
    "gzip",  # Content-Encoding: gzip, unasked
]


# These stand in for the answer; all others bend the body of the real one.
REPLACING = frozenset({"status", "html", "reset", "redirect", "expire"})


@dataclass(slots=True)
class Fault:
    """One order.  *match* is searched in the raw path with query."""

    kind: Kind
    match: str = ""
    role: Literal["hub", "cdn"] | None = None
    method: str | None = None
    times: int = 1  # -1: always
    after: int = 0  # let so many matching requests pass first
    at: int = 0
    rate: int = 0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    location: str = ""


class Faults:
    """The orders of one hub."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._orders.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(
        self, role: str, method: str, path: str, *, has_body: bool = False
    ) -> Fault | None:
        """The next order for this request; counts it.

        Asked before there is an answer it gives one to replace it, asked with
        *has_body* one to bend it: a redirect on the way does not use that up.
        """
        with self._lock:
            for fault in self._orders:
                if fault.role not in (None, role) or fault.times == 0:
                    continue
                if fault.method not in (None, method):
                    continue
                if not re.search(fault.match, path):
                    continue
                bends = fault.kind not in REPLACING
                if bends and method == "HEAD" and fault.method is None:
                    continue
                if bends != has_body:
                    return None  # the order before it waits for its own moment
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None
