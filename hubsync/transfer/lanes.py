"""The connections of one file, as many as help."""

import asyncio
from collections.abc import Awaitable, Callable

from hubsync.model.spans import Span
from hubsync.transfer.parts import Parts
from hubsync.transfer.tuner import SAMPLE_S, Tuner


class Lanes:
    """Tasks that take part after part until none is left."""

    def __init__(
        self,
        fetch_part: Callable[[Span], Awaitable[None]],
        parts: Parts,
        tuner: Tuner,
        tasks: asyncio.TaskGroup,
        on_over: Callable[[], None],
    ) -> None:
        self._fetch_part, self._parts = fetch_part, parts
        self._tuner, self._tasks, self._on_over = tuner, tasks, on_over
        self._open = 0
        self._over = asyncio.Event()

    def widen(self) -> None:
        """Open lanes up to the number that the tuner wants."""
        while self._open < self._tuner.lanes:
            self._open += 1
            self._tasks.create_task(self._lane())

    @property
    def over(self) -> bool:
        """Whether all lanes have ended."""
        return self._over.is_set()

    async def over_within(self, seconds: float) -> bool:
        """Whether all lanes have ended; waits that long for it."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def tune(self, arrived: Callable[[], int]) -> None:
        """Sample how many bytes have *arrived*, until no more lanes would help."""
        clock = asyncio.get_running_loop().time
        before, since = arrived(), clock()
        is_warm = False  # while connections are opened, any more seem to help
        while not self._tuner.settled and not await self.over_within(SAMPLE_S):
            now, at = arrived(), clock()
            if now > before and self._parts and is_warm:
                self._tuner.sample((now - before) / (at - since))
                self.widen()
            is_warm = is_warm or now > before
            before, since = now, at

    async def _lane(self) -> None:
        try:
            while self._open <= self._tuner.lanes:
                span = self._parts.take(self._tuner.lanes)
                if span is None:
                    return
                await self._fetch_part(span)
        finally:
            self._open -= 1
            if not self._open:
                self._over.set()
                self._on_over()
