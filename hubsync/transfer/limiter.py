"""A ceiling for the bytes of all downloads together."""

import asyncio


class RateLimiter:
    """A token bucket that holds one second's worth."""

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
