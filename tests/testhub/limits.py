"""Fixed windows of five minutes, one a bucket, as the hub counts them."""

import re
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """What is left of one bucket's window."""

    quota: int
    window_s: int
    used: dict[str, int] = field(default_factory=dict)  # by caller
    started: float = 0.0
    closed: dict[str, float] = field(default_factory=dict)  # when a caller was told


class RateLimits:
    """Every answer carries the headers; the quota is large unless a test says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.windows = {
            "api": Window(1_000_000, 300),
            "resolvers": Window(1_000_000, 300),
        }

    def count(
        self, bucket: str, now: float, caller: str = ""
    ) -> tuple[bool, dict[str, str]]:
        """``(allowed, headers)`` for one more request."""
        with self._lock:
            window = self.windows[bucket]
            if now >= window.started + window.window_s:
                window.started, window.used, window.closed = now, {}, {}
            used = window.used.get(caller, 0)
            allowed = used < window.quota
            window.used[caller] = used + allowed
            left = max(0, window.quota - window.used[caller])
            if not allowed:
                window.closed.setdefault(caller, now)
            ends = max(0, int(window.started + window.window_s - now))
        return allowed, {
            "RateLimit": f'"{bucket}";r={left};t={ends}',
            "RateLimit-Policy": f'"fixed window";"{bucket}";q={window.quota}'
            f";w={window.window_s}",
        }

    def closed_for_s(self, bucket: str, now: float, caller: str = "") -> float | None:
        """How long *caller* has known that this window is closed; None: it is open."""
        with self._lock:
            window = self.windows[bucket]
            told = window.closed.get(caller)
            if told is None or now >= window.started + window.window_s:
                return None
            return now - told


def bucket_of(raw_path: str) -> str:
    is_file = re.search(r"/(resolve|raw)/|^/api/resolve-cache/", raw_path)
    return "resolvers" if is_file else "api"
