"""Mirrors, carried out when they are due, until somebody says stop."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from hubsync.catalog.runs import MirrorBusyError
from hubsync.daemon.scheduled import Scheduled
from hubsync.daemon.scheduler import Clock, was_missed
from hubsync.model.errors import HubsyncError
from hubsync.sync.rules import Rule

log = logging.getLogger("hubsync.daemon")


class Service:
    """Who is due waits for a place; of those that wait, the most important is next.

    *carry_out* runs one rule and writes down how it went.  *last* says when a mirror
    was begun the last time, by anybody.
    """

    def __init__(
        self,
        load: Callable[[], Sequence[Scheduled]],
        carry_out: Callable[[Rule], Awaitable[None]],
        last: Callable[[str], datetime | None],
        *,
        at_once: int,
    ) -> None:
        self._load, self._carry_out, self._last = load, carry_out, last
        self._at_once = at_once
        self._mirrors: dict[str, Scheduled] = {}
        self._clock = Clock(self._is_due)
        self._waiting: asyncio.PriorityQueue[tuple[int, int, str, datetime]]
        self._waiting = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._taken: set[str] = set()  # those that wait or are at work

    async def run(self, stop: asyncio.Event) -> None:
        """Until *stop* is set; what is at work then is cancelled, and resumed later.

        Raises:
            UsageError: the configuration is refused.
        """
        self._take(self._load())
        self._clock.start()
        self._make_up_for(self._mirrors)
        working = [asyncio.create_task(self._work()) for _ in range(self._at_once)]
        try:
            await stop.wait()
        finally:
            self._clock.stop()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    def reload(self) -> None:
        """Read the configuration again; a broken one is refused, and the old stays."""
        try:
            found = self._load()
        except HubsyncError as error:
            log.log(logging.ERROR, "the configuration stays as it was: %s", error)
            return
        before = self._mirrors
        for line in self._take(found) or ["no mirror has changed"]:
            log.info("configuration read again: %s", line)
        new = [
            name
            for name, one in self._mirrors.items()
            if name not in before or before[name].timing != one.timing
        ]
        try:
            self._make_up_for(new)
        except HubsyncError as error:
            log.log(logging.ERROR, "what was missed is not made up for: %s", error)

    def _take(self, found: Sequence[Scheduled]) -> list[str]:
        """Go by *found* from now on; what is new about it."""
        now = {one.rule.name: one for one in found}
        changes = _changes(self._mirrors, now)
        self._mirrors = now
        timings = {name: one.timing for name, one in now.items() if one.timing}
        self._clock.keep(timings)
        return changes

    def _make_up_for(self, names: Iterable[str]) -> None:
        """Begin what was due before anybody looked."""
        now = datetime.now(UTC)
        for name in names:
            timing = self._mirrors[name].timing
            if timing and was_missed(name, timing, self._last(name), now):
                log.info("%s was due while nobody looked: now", name)
                self._is_due(name)

    def _is_due(self, name: str) -> None:
        if name in self._taken:
            log.warning("%s is due, and still at it: left out this time", name)
            return
        self._taken.add(name)
        priority = -self._mirrors[name].rule.priority
        now = datetime.now(UTC)
        self._waiting.put_nowait((priority, next(self._order), name, now))

    async def _work(self) -> None:
        while True:
            *_, name, due = await self._waiting.get()
            try:
                await self._try(name, due)
            except MirrorBusyError as error:
                log.info("%s", error)
            except HubsyncError as error:
                log.log(logging.ERROR, "%s: %s", name, error)
            except Exception:
                log.exception("%s: an unexpected error; the other mirrors go on", name)
            finally:
                self._taken.discard(name)

    async def _try(self, name: str, due: datetime) -> None:
        one = self._mirrors.get(name)
        if one is None or one.timing is None:
            return  # not in the configuration any more
        last = await asyncio.to_thread(self._last, name)
        # As of then: who waited for a place for days was not begun by anybody else.
        if last is not None and not was_missed(name, one.timing, last, due):
            log.info("%s was carried out by somebody else meanwhile", name)
            return
        await self._carry_out(one.rule)


def _changes(
    before: Mapping[str, Scheduled], now: Mapping[str, Scheduled]
) -> list[str]:
    said = [f"{name} is new" for name in now if name not in before]
    said += [
        f"{name} is gone; what it brought in stays" for name in before.keys() - now
    ]
    for name in now.keys() & before.keys():
        if now[name].timing != before[name].timing:
            said.append(f"{name} is due at other times")
        if now[name].rule != before[name].rule:
            said.append(f"{name} selects otherwise")
    return sorted(said)
