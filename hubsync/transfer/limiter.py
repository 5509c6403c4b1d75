"""Waiting that all downloads of a run share."""

import asyncio


class RateLimiter:
    """A ceiling for bytes: a token bucket that holds one second's worth."""

    def __init__(self, rate_bytes_per_s: int | None) -> None:
        self._rate = rate_bytes_per_s
        self._free_at = 0.0  # loop time at which what was taken is paid off

    async def take(self, size_bytes: int) -> None:
        """Wait until *size_bytes* more may arrive."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - 1.0) + size_bytes / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Gate:
    """Closed while the hub wants silence: one 429 is told to all, not met by all."""

    def __init__(self) -> None:
        self._opens_at = 0.0

    def close(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._opens_at = max(self._opens_at, now + seconds)

    async def passed(self) -> None:
        """Wait until it is open, also if it is closed again meanwhile."""
        clock = asyncio.get_running_loop().time
        while (wait := self._opens_at - clock()) > 0:  # noqa: ASYNC110 - a time, no event
            await asyncio.sleep(wait)
