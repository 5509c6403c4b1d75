"""What the hub was asked, and what it answered."""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """One request.  *sent* counts body bytes that were handed to the socket."""

    role: str  # "hub" or "cdn"
    method: str
    path: str  # raw, with query
    headers: Mapping[str, str]
    status: int = 0
    bucket: str = ""
    sent: int = 0
    at: float = field(default_factory=time.monotonic)
    ended: float | None = None  # when the last byte was handed over
    # How long the window of its bucket had been announced as closed.
    closed_for_s: float | None = None
    notes: list[str] = field(default_factory=list)


class Log:
    """Thread-safe: the server's thread writes, the test reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[Seen] = []

    def add(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    def all(self) -> list[Seen]:
        with self._lock:
            return list(self._seen)

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()

    def matching(self, pattern: str = "", *, role: str | None = None) -> list[Seen]:
        return [
            one
            for one in self.all()
            if role in (None, one.role) and re.search(pattern, one.path)
        ]
