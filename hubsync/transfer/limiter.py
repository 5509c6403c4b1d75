"""Waiting that all downloads of a run share."""

import asyncio
import random
from collections.abc import Callable, Mapping

from hubsync.ports.hub import UnavailableError
from hubsync.transfer.options import TransferOptions
from hubsync.wire.hf import parse_rate_limit, parse_wait_s

_TOO_MANY = 429
JITTER_S = 0.25  # so that those who waited do not all come in one moment


class RateLimiter:
    """A ceiling for bytes: a token bucket that holds one second's worth."""

    def __init__(self, rate_bytes_per_s: int | None) -> None:
        self._rate = rate_bytes_per_s
        self._free_at = 0.0  # loop time at which what was taken is paid off

    @property
    def is_limiting(self) -> bool:
        """Whether there is a ceiling at all."""
        return self._rate is not None

    @property
    def quiet_until(self) -> float:
        """Loop time until which silence is our own doing."""
        return self._free_at

    async def take(self, size_bytes: int) -> float:
        """Wait until *size_bytes* more may arrive; return how many seconds."""
        if self._rate is None:
            return 0.0
        clock = asyncio.get_running_loop().time
        now = clock()
        self._free_at = max(self._free_at, now - 1.0) + size_bytes / self._rate
        if self._free_at <= now:
            return 0.0
        await asyncio.sleep(self._free_at - now)
        return clock() - now


class Gates:
    """The `Budget` of one process: one 429 is told to all, not met by all.

    A hub counts by buckets (``"resolvers";r=0;t=55``); which of our requests fall
    into which it tells with its answers.
    """

    def __init__(
        self,
        options: TransferOptions,
        jitter: Callable[[], float] | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options, self._note = options, note
        self._jitter_s = jitter or (lambda: random.uniform(0.0, JITTER_S))  # noqa: S311
        self._buckets: dict[tuple[str, str], str] = {}  # (host, kind) -> bucket
        self._opens_at: dict[tuple[str, str], float] = {}  # (host, bucket)
        self._refusals: dict[tuple[str, str], int] = {}  # in a row, without a time

    @property
    def quiet_until(self) -> float:
        """Loop time until which silence is what a hub asked for."""
        return max(self._opens_at.values(), default=0.0)

    async def passed(self, host: str, kind: str) -> None:
        """Wait until a request of this *kind* may be sent to *host*.

        Raises:
            UnavailableError: that takes longer than we are ready to wait.
        """
        clock = asyncio.get_running_loop().time
        while (wait := self._opens_at.get(self._key(host, kind), 0.0) - clock()) > 0:
            if wait > self._options.rate_limit_wait_max_s:
                raise UnavailableError(
                    f"{host} limits the rate of requests for another {wait:.0f} s",
                    hint="Try again later, or log in with `hf auth login`: accounts "
                    "have higher limits.",
                    retry_after_s=wait,
                )
            await asyncio.sleep(wait + self._jitter_s())

    def answered(
        self, host: str, kind: str, status: int, headers: Mapping[str, str]
    ) -> None:
        """Learn from an answer's *headers* (names in lower case)."""
        limit = parse_rate_limit(headers.get("ratelimit", ""))
        if limit is not None:
            self._buckets[host, kind] = limit.bucket
        key = self._key(host, kind)
        refused = status == _TOO_MANY
        used_up = limit is not None and limit.remaining == 0
        if not (refused or used_up):
            self._refusals.pop(key, None)
            return
        wait = parse_wait_s(headers)
        now = asyncio.get_running_loop().time()
        before = self._opens_at.get(key, 0.0)
        if not wait:  # "at once" is what it says in a storm, too
            if before > now:
                return  # it was under way when another was refused: that is one
            self._refusals[key] = self._refusals.get(key, 0) + 1
            longest = self._options.backoff_base_s * 2.0 ** (self._refusals[key] - 1)
            wait = min(longest, self._options.backoff_max_s)
        self._opens_at[key] = max(before, now + wait)
        if before <= now and not refused:  # whoever is refused says so
            self._note(f"{host} wants no more requests for {wait:.0f} s: waiting")

    def _key(self, host: str, kind: str) -> tuple[str, str]:
        return host, self._buckets.get((host, kind), kind)
