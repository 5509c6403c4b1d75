"""Faults that a test orders: which requests they hit, and what they do to them."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "status",  # answer *status* with *headers* and *body*
    "html",  # 200 text/html in place of what was asked
    "reset",  # drop the connection before any answer
    "redirect",  # 302 (or *status*, if it is a 3xx) to *location*
    "hops",  # redirect to the same file *at* times, then answer
    "expire",  # the CDN takes the signature for expired
    "silence",  # take the request and never answer
    # These bend the body or the headers of the real answer.
    "truncate",  # announce everything, close after *at* bytes
    "flip",  # right length, one bit of byte *at* of the file is wrong
    "shifted",  # right length, the bytes of *at* further ahead
    "longer",  # *at* bytes more than there are, announced so
    "shorter",  # *at* bytes less than there are, announced so
    "no_length",  # no Content-Length, close after *at* bytes
    "ignore_range",  # 200 with everything
    "wrong_range",  # 206 with a Content-Range that lies, as *variant* says
    "unsatisfiable",  # 416, whatever was asked
    "etag_changes",  # *etag* in place of the right one
    "stall",  # *at* bytes, then silence until the client leaves
    "slow",  # *rate* bytes a second
    "drip",  # *at* bytes at once, then one each *every_s*
    "gzip",  # Content-Encoding: gzip, unasked
]
Variant = Literal[
    "",  # starts one byte late
    "early",  # starts one byte early
    "other_end",
    "other_total",
    "backwards",
    "missing",  # no Content-Range at all
    "nonsense",
]

# These stand in for the answer; all others bend the body of the real one.
REPLACING = frozenset(
    {"status", "html", "reset", "redirect", "hops", "expire", "silence"}
)


@dataclass(slots=True)
class Fault:
    """One order.  *match* is searched in the raw path with query."""

    kind: Kind
    match: str = ""
    role: Literal["hub", "cdn"] | None = None
    method: str | None = None
    times: int = 1  # -1: always
    after: int = 0  # let so many matching requests pass first
    part: Literal["first", "later"] | None = None  # from byte 0 on, or not
    at: int = 0
    rate: int = 0
    every_s: float = 1.0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    location: str = ""
    variant: Variant = ""
    etag: str = '"another"'

    def hits(
        self, role: str, method: str, path: str, headers: Mapping[str, str]
    ) -> bool:
        """Whether it is meant for such a request, and not used up."""
        if self.role not in (None, role) or self.times == 0:
            return False
        if self.method not in (None, method):
            return False
        if self.kind not in REPLACING and method == "HEAD" and self.method is None:
            return False
        if self.part is not None:
            asked = headers.get("Range", "bytes=0-")
            is_first = asked.startswith("bytes=0-")
            if is_first != (self.part == "first"):
                return False
        return re.search(self.match, path) is not None


class Faults:
    """The orders of one hub."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []

    def add(self, *faults: Fault) -> Fault:
        with self._lock:
            self._orders += faults
        return faults[0]

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(
        self,
        role: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        has_body: bool = False,
    ) -> Fault | None:
        """The next order for this request; counts it.

        Asked before there is an answer it gives one to replace it, asked with
        *has_body* one to bend it: a redirect on the way does not use that up.
        """
        with self._lock:
            for fault in self._orders:
                if not fault.hits(role, method, path, headers):
                    continue
                if (fault.kind not in REPLACING) != has_body:
                    return None  # the order before it waits for its own moment
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None
