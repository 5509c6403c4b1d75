"""Connections, given out fairly between the files that want them."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Slots:
    """So many connections at once, over all files of a run.

    A free one goes to the waiting file that has the fewest, so that a file of
    100 GB keeps no small one waiting, nor the other way round.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._held: Counter[Hashable] = Counter()
        self._waiting: deque[tuple[Hashable, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def one(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a connection for *owner*, and give it back afterwards."""
        await self._take(owner)
        try:
            yield
        finally:
            self._release(owner)

    async def _take(self, owner: Hashable) -> None:
        if self._free > 0:
            self._free -= 1
            self._held[owner] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        waiter = (owner, turn)
        self._waiting.append(waiter)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(owner)  # it was given to us in that very moment
            elif waiter in self._waiting:  # or `_release` came by before us
                self._waiting.remove(waiter)
            raise

    def _release(self, owner: Hashable) -> None:
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._free += 1
        while self._free > 0 and self._waiting:
            next_owner, turn = min(self._waiting, key=lambda one: self._held[one[0]])
            self._waiting.remove((next_owner, turn))
            if turn.done():
                continue  # it was cancelled, and has not run since
            self._free -= 1
            self._held[next_owner] += 1
            turn.set_result(None)
