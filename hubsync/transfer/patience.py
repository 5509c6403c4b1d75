"""How long to wait before a file is asked for again, and when to give up."""

import asyncio
import random

from hubsync.ports.hub import UnavailableError
from hubsync.transfer.errors import ExpiredError, RetryLaterError
from hubsync.transfer.run import Run

_RESUMED = "What has arrived is kept, and the next pull goes on from there."


class Patience:
    """What one file's failures so far allow.

    All lanes fail at once when a host or the line does.  That is one failure:
    those that fail during the pause after the first are not counted again.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name
        self._reached = 0  # the most bytes there ever were
        self._failures = 0  # in a row without reaching further
        self._again_at = 0.0  # loop time at which the pause after the last one ends

    async def pause(self, later: RetryLaterError, there_bytes: int) -> None:
        """Wait before the next request; *there_bytes* of the file have arrived.

        Raises:
            UnavailableError: nothing more came for too many requests, or the hub
                wants us to wait for too long.
        """
        clock = asyncio.get_running_loop().time
        self._run.retries += 1
        is_known = isinstance(later, ExpiredError) and later.is_known
        counts = clock() >= self._again_at and not is_known
        if counts:
            self._count(there_bytes)
        wait = later.wait_s
        if not wait:  # "at once" is what a hub says in a storm, too
            wait = self._backoff_s(later) if counts else 0.0
        self._give_up_after(later, wait)
        is_longer = clock() + wait > self._again_at
        self._again_at = max(self._again_at, clock() + wait)
        if counts or (is_longer and not is_known):
            pause_s = max(self._again_at - clock(), 0.0)
            self._run.tell(self._name, str(later), pause_s)
        await self.calm()

    def start_over(self) -> None:
        """The file comes anew, in another way: what there was is no measure."""
        self._reached = 0

    async def calm(self) -> None:
        """Wait until the pause after the last failure is over."""
        clock = asyncio.get_running_loop().time
        while (left := self._again_at - clock()) > 0:  # noqa: ASYNC110 - others may put it off
            await asyncio.sleep(left)

    def _count(self, there_bytes: int) -> None:
        # Not "more than before this request": a hub that ignores ranges and
        # always breaks at the same byte would be asked for ever.
        self._failures = 1 if there_bytes > self._reached else self._failures + 1
        self._reached = max(self._reached, there_bytes)

    def _backoff_s(self, later: RetryLaterError) -> float:
        # A new address is asked for at once, unless that did not help.
        again = self._failures - isinstance(later, ExpiredError)
        options = self._run.options
        longest = options.backoff_base_s * 2.0 ** (again - 1) if again else 0.0
        return min(longest, options.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def _give_up_after(self, later: RetryLaterError, wait_s: float) -> None:
        options = self._run.options
        if self._failures > options.retries_max or (
            wait_s > options.rate_limit_wait_max_s
        ):
            raise UnavailableError(
                f"cannot fetch {self._name}: {later} (asked {self._failures} times"
                f"{'' if later.wait_s is None else f', has to wait {wait_s:.0f} s'})",
                hint=f"Try again later. {_RESUMED}",
                answered=later.answered,
            ) from later
