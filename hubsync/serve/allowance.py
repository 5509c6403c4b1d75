"""How fast the holder of a token may read; each worker counts for itself."""

import math
import time
from collections.abc import AsyncGenerator, Callable

from hubsync.catalog.tokens import TokenGrant
from hubsync.model.units import MIB
from hubsync.serve.errors import Problem
from hubsync.transfer.limiter import RateLimiter
from hubsync.wire.ranges import ByteRange

MINUTE_S = 60.0
PIECE_BYTES_MIN = 4096


class Allowance:
    """One token's, for all its requests together.

    Requests: a bucket that holds a minute's worth.  Bytes: one second's worth is
    saved up while nothing is sent, and bodies leave in pieces as they are earned.
    """

    def __init__(
        self, grant: TokenGrant, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._per_minute = grant.requests_per_minute
        self._left, self._counted_at = float(self._per_minute or 0), clock()
        self._rate = grant.rate_bytes_per_s
        self._bytes = RateLimiter(self._rate)

    @property
    def has_rate(self) -> bool:
        """Whether bytes are counted, too."""
        return self._rate is not None

    def count_request(self) -> None:
        """Raises: Problem: 429, and when to come again."""
        if self._per_minute is None:
            return
        now = self._clock()
        earned = (now - self._counted_at) * self._per_minute / MINUTE_S
        self._left = min(self._left + earned, float(self._per_minute))
        self._counted_at = now
        if self._left < 1:
            wait_s = (1 - self._left) * MINUTE_S / self._per_minute
            raise _too_many(self._per_minute, math.ceil(wait_s))
        self._left -= 1

    async def sent(self, size_bytes: int) -> None:
        """Wait until *size_bytes* may leave."""
        await self._bytes.take(size_bytes)

    async def pieces(self, part: ByteRange) -> AsyncGenerator[ByteRange, None]:
        """*part* in pieces, each when it may leave."""
        if self._rate is None:
            yield part
            return
        size = min(max(self._rate // 4, PIECE_BYTES_MIN), MIB)
        for start in range(part.start, part.stop, size):
            piece = ByteRange(start, min(start + size, part.stop))
            await self._bytes.take(piece.size_bytes)
            yield piece


def _too_many(per_minute: int, wait_s: int) -> Problem:
    """With the Hub's headers: huggingface_hub waits as long as they say."""
    return Problem(
        429,
        f"Too many requests: this token has {per_minute} a minute",
        more={
            "Retry-After": str(wait_s),
            "RateLimit": f'"api";r=0;t={wait_s}',
            "RateLimit-Policy": f'"fixed window";"api";q={per_minute};w=60',
        },
    )
