"""What was asked and what was answered."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["hub", "cdn"]
Bucket = Literal["api", "resolvers", "pages"]


@dataclass(slots=True)
class Request:
    """One request.  ``status`` is None until its answer begins.

    ``body_sent`` counts body bytes handed to the socket: right to the byte for an
    answer that ended, up to a socket buffer too high for one the client dropped.
    """

    number: int
    method: str
    path: str  # raw, still percent-encoded, without the query
    query: str  # raw
    headers: Mapping[str, str]  # case-insensitive
    role: Role
    at_s: float
    body: bytes = b""
    bucket: Bucket | None = None  # None: not limited (CDN)
    status: int | None = None
    body_sent: int = 0
    faults: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def target(self) -> str:
        """Path and query as they were on the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


class RequestLog:
    """The requests so far, in the order of arrival; safe from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._arrived = 0
        self.violations: list[str] = []

    def add(
        self,
        *,
        method: str,
        target: str,
        headers: Mapping[str, str],
        role: Role,
        at_s: float,
    ) -> Request:
        path, _, query = target.partition("?")
        with self._changed:
            self._arrived += 1
            request = Request(self._arrived, method, path, query, headers, role, at_s)
            self._requests.append(request)
            self._changed.notify_all()
            return request

    def finish(self, request: Request) -> None:
        with self._changed:
            request.done = True
            self._changed.notify_all()

    def wait_until(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Block until *count* requests have been answered since the last clear."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: sum(r.done for r in self._requests) >= count, timeout_s
            )
        assert reached, f"fewer than {count} requests in {timeout_s} s"

    def all(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        with self._changed:
            self._requests.clear()
            self.violations.clear()

    def select(
        self,
        path: str = "",
        *,
        method: str | None = None,
        role: Role | None = None,
        status: int | None = None,
        bucket: Bucket | None = None,
    ) -> list[Request]:
        """Requests whose raw target the regular expression *path* finds."""
        pattern = re.compile(path)
        return [
            request
            for request in self.all()
            if pattern.search(request.target)
            and method in (None, request.method)
            and role in (None, request.role)
            and status in (None, request.status)
            and bucket in (None, request.bucket)
        ]
