"""Questions to an upstream: once for all who wait, and not again at once."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hubsync.ports.gate import GateUnavailableError
from hubsync.serve.remembered import Remembered

ANSWERS_MAX = 10_000
QUESTIONS_MAX = 32  # on the way at once: each has a thread
UNAVAILABLE_S = 2.0  # an upstream that does not answer is left alone so long

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class About:
    """What is asked: of which upstream, about which token, and what of it.

    The token itself is not kept: what is in our memory opens nothing.
    """

    upstream: str
    token_digest: bytes
    subject: Hashable

    @classmethod
    def of(cls, upstream: str, token: str | None, subject: Hashable) -> "About":
        return cls(upstream, hashlib.sha256((token or "").encode()).digest(), subject)


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """An answer of an upstream."""

    value: T


class Room:
    """How much may be asked at once, and of whom nothing for the moment."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(QUESTIONS_MAX)
        self.silent_until: dict[str, float] = {}  # by upstream


class Questions(Generic[T]):
    """Answers of one kind, each counting *cache_s* from when it was asked for."""

    def __init__(
        self, room: Room, cache_s: float, kept: Remembered[Kept[T]] | None = None
    ) -> None:
        self._room, self._cache_s = room, cache_s
        self._kept = kept or Remembered[Kept[T]](ANSWERS_MAX)
        self._running: dict[About, asyncio.Task[T]] = {}

    async def answer(self, about: About, ask: Callable[[], Awaitable[T]]) -> T:
        """What the upstream says, or has said a moment ago.

        Raises:
            GateUnavailableError: it does not say.
        """
        found = self._kept.get(about)
        if found is not None:
            return found.value
        task = self._running.get(about)
        if task is None:
            task = asyncio.create_task(self._ask(about, ask))
            self._running[about] = task
            task.add_done_callback(lambda done: self._ended(about, done))
        # One who leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _ended(self, about: About, done: asyncio.Task[T]) -> None:
        del self._running[about]
        if not done.cancelled():
            done.exception()  # looked at, also when all who waited have left

    async def _ask(self, about: About, ask: Callable[[], Awaitable[T]]) -> T:
        upstream, silent_until = about.upstream, self._room.silent_until
        async with self._room.turn:
            sent = self._kept.now()
            if sent < silent_until.get(upstream, sent):
                raise GateUnavailableError(f"{upstream} did not answer just now")
            try:
                value = await ask()
            except GateUnavailableError as error:
                if error.silent:
                    silent_until[upstream] = self._kept.now() + UNAVAILABLE_S
                raise
        self._kept.put(about, Kept(value), until=sent + self._cache_s)
        return value
