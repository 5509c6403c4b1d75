"""Fixed windows per bucket and per caller, counted for real."""

import math
import threading
from dataclasses import dataclass

from tests.testhub.clock import Clock
from tests.testhub.record import Bucket


@dataclass(slots=True)
class Quota:
    """Requests allowed in one window.  The default never gets in a test's way."""

    requests: int = 1_000_000
    window_s: int = 300


@dataclass(slots=True)
class _Window:
    ends_at_s: float
    used: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the request may pass, and the two headers that say so."""

    allowed: bool
    headers: dict[str, str]


class RateLimiter:
    """Counts every request, refused ones too, as a fixed window does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quotas: dict[Bucket, Quota] = {}
        self._windows: dict[tuple[Bucket, str], _Window] = {}

    def quota(self, bucket: Bucket) -> Quota:
        return self._quotas.setdefault(bucket, Quota())

    def set_quota(self, bucket: Bucket, quota: Quota) -> None:
        """Use *quota* from now on; the windows of *bucket* start afresh."""
        with self._lock:
            self._quotas[bucket] = quota
            for key in [key for key in self._windows if key[0] == bucket]:
                del self._windows[key]

    def count(self, bucket: Bucket, caller: str) -> Verdict:
        with self._lock:
            quota, now_s = self.quota(bucket), self._clock.now()
            window = self._windows.get((bucket, caller))
            if window is None or window.ends_at_s <= now_s:
                window = _Window(now_s + quota.window_s)
                self._windows[(bucket, caller)] = window
            window.used += 1
            left = max(0, quota.requests - window.used)
            wait_s = math.ceil(window.ends_at_s - now_s)
            headers = {
                "RateLimit": f'"{bucket}";r={left};t={wait_s}',
                "RateLimit-Policy": (
                    f'"fixed window";"{bucket}";q={quota.requests};w={quota.window_s}'
                ),
            }
            return Verdict(window.used <= quota.requests, headers)
