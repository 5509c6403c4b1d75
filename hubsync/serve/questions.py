"""Questions to an upstream: once for all who wait, and not again at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hubsync.model.token import digest_of
from hubsync.ports.gate import GateUnavailableError
from hubsync.serve.events import Event
from hubsync.serve.remembered import Remembered

log = logging.getLogger("hubsync.serve")

ANSWERS_MAX = 10_000
QUESTIONS_MAX = 32  # on the way at once: each has a thread
UNAVAILABLE_S = 2.0  # an upstream that does not answer is left alone so long
PATIENCE_S = 2.0  # who has had a yes waits no longer than this for the next one
# … and not at all when the upstream has been asked in vain just now: longer than
# one question may take, and than it is left alone after that.
DOWN_KNOWN_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class About:
    """What is asked: of which upstream, about which token, and what of it.

    The token itself is not kept: what is in our memory opens nothing.
    """

    upstream: str
    token_digest: str
    subject: Hashable

    @classmethod
    def of(cls, upstream: str, token: str | None, subject: Hashable) -> "About":
        return cls(upstream, digest_of(token or ""), subject)


@dataclass(slots=True)
class Silence:
    """That no answer came, just now."""

    ask_from: float = 0.0  # until then nobody asks
    known_until: float = 0.0  # until then nobody waits who has another answer

    def note(self, now: float) -> None:
        self.ask_from = now + UNAVAILABLE_S
        self.known_until = now + DOWN_KNOWN_S


@dataclass(slots=True)
class Kept(Generic[T]):
    """An answer of an upstream.

    It counts until then.  If it may count on, for want of another, it is kept
    longer; *silence* is what became of asking about it again.
    """

    value: T
    counts_until: float
    silence: Silence


class Room:
    """How much may be asked at once, and of whom nothing for the moment."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(QUESTIONS_MAX)
        self._silences: dict[str, Silence] = {}  # by upstream
        self.looking: set[str] = set()  # upstreams that somebody tries anew

    def silence(self, upstream: str) -> Silence:
        return self._silences.setdefault(upstream, Silence())

    def heard(self, upstream: str) -> None:
        self._silences.pop(upstream, None)


class Questions(Generic[T]):
    """Answers of one kind, each counting *cache_s* from when it was asked for.

    One that *lasts* counts *stale_s* longer while the upstream does not answer.
    What it answers then takes the place of that, whatever it is.
    """

    def __init__(
        self,
        room: Room,
        kept: Remembered[Kept[T]],
        *,
        cache_s: float,
        stale_s: float,
        lasts: Callable[[T], bool],
    ) -> None:
        self._room, self._kept = room, kept
        self._cache_s, self._stale_s, self._lasts = cache_s, stale_s, lasts
        self._running: dict[About, asyncio.Task[T]] = {}
        self._overtaken: set[About] = set()  # of those; their answers are not kept

    async def answer(self, about: About, ask: Callable[[], Awaitable[T]]) -> T:
        """What the upstream says, or has said a moment ago.

        Raises:
            GateUnavailableError: it does not say.
        """
        kept, now = self._kept.get(about), self._kept.now()
        if kept is None:
            # One who leaves does not take the answer away from the others.
            return await asyncio.shield(self._task(about, ask))
        if now < kept.counts_until:
            return kept.value
        silence = self._room.silence(about.upstream)
        if now < max(kept.silence.known_until, silence.known_until):
            if now >= max(kept.silence.ask_from, silence.ask_from):
                self._look(about, ask)
            return kept.value
        return await self._answer_soon(about, ask, kept)

    async def _answer_soon(
        self, about: About, ask: Callable[[], Awaitable[T]], kept: Kept[T]
    ) -> T:
        """What it says now, or *kept* if nothing comes."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(self._task(about, ask))
        except TimeoutError:
            error = GateUnavailableError(f"{about.upstream} is slow", down=True)
        except GateUnavailableError as failure:
            error = failure
        # Meanwhile it may have been refused, or its time have come to an end.
        if not error.down or self._kept.get(about) is not kept:
            raise error
        kept.silence.note(self._kept.now())
        log.warning(Event("the upstream's yes counts on", error=str(error)))
        return kept.value

    def _look(self, about: About, ask: Callable[[], Awaitable[T]]) -> None:
        """Find out whether the upstream answers again, while nobody waits for it."""
        looking, upstream = self._room.looking, about.upstream
        if upstream not in looking:
            looking.add(upstream)
            task = self._task(about, ask)
            task.add_done_callback(lambda _: looking.discard(upstream))

    def forget(self, token_digest: str) -> None:
        """Believe nothing any more that was said about this token."""
        self._kept.drop(
            lambda about: (
                isinstance(about, About) and about.token_digest == token_digest
            )
        )
        self._overtaken.update(
            one for one in self._running if one.token_digest == token_digest
        )

    def _task(self, about: About, ask: Callable[[], Awaitable[T]]) -> "asyncio.Task[T]":
        task = self._running.get(about)
        if task is None:
            task = asyncio.create_task(self._ask(about, ask))
            self._running[about] = task
            task.add_done_callback(lambda done: self._ended(about, done))
        return task

    def _ended(self, about: About, done: "asyncio.Task[T]") -> None:
        del self._running[about]
        self._overtaken.discard(about)
        if not done.cancelled():
            done.exception()  # looked at, also when all who waited have left

    async def _ask(self, about: About, ask: Callable[[], Awaitable[T]]) -> T:
        upstream = about.upstream
        async with self._room.turn:
            sent = self._kept.now()
            if sent < self._room.silence(upstream).ask_from:
                raise GateUnavailableError(
                    f"{upstream} did not answer just now", down=True
                )
            try:
                value = await ask()
            except GateUnavailableError as error:
                self._note(about, error)
                raise
        self._room.heard(upstream)
        self._keep(about, value, sent)
        return value

    def _note(self, about: About, error: GateUnavailableError) -> None:
        now = self._kept.now()
        if error.silent:
            self._room.silence(about.upstream).note(now)
        kept = self._kept.get(about)
        if error.down and kept is not None:
            # Not of the upstream as a whole: it may fail for this one alone.
            kept.silence.note(now)

    def _keep(self, about: About, value: T, sent: float) -> None:
        lasts = self._lasts(value)
        if lasts and about in self._overtaken:
            return
        counts_until = sent + self._cache_s
        lasts_s = self._stale_s if lasts else 0.0
        kept = Kept(value, counts_until, Silence())
        self._kept.put(about, kept, until=counts_until + lasts_s)
