"""The clock: APScheduler, which says when a mirror is due.

The rules live in the configuration and the history in the catalog, so nothing is kept
here: a schedule is made anew at each start.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from hubsync.daemon.timing import Timing, plain_cron

LATE_MAX_S = 24 * 3600.0  # a machine that slept for longer has missed it

_CHANGE_MAX = timedelta(hours=3)  # of the clocks, once


class Clock:
    """Calls *due* with the name of each mirror whose time has come."""

    def __init__(self, due: Callable[[str], None]) -> None:
        self._due = due
        self._timings: dict[str, Timing] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    def start(self) -> None:
        """In the event loop in which *due* is to be called."""
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.shutdown(wait=False)

    def keep(self, timings: Mapping[str, Timing]) -> None:
        """From now on those, and no others; who did not change keeps his next time."""
        for name in self._timings.keys() - timings.keys():
            self._scheduler.remove_job(name)
        for name, timing in timings.items():
            if self._timings.get(name) != timing:
                self._scheduler.add_job(
                    self._call,
                    _jittered(name, timing),
                    args=[name],
                    id=name,
                    name=name,
                    replace_existing=True,
                    coalesce=True,
                    misfire_grace_time=int(LATE_MAX_S),
                )
        self._timings = dict(timings)

    async def _call(self, name: str) -> None:
        """A coroutine: the scheduler would call anything else in a thread."""
        self._due(name)


def trigger_of(timing: Timing) -> BaseTrigger:
    """What says when *timing* is due.

    Raises:
        ValueError: its cron expression is none.
    """
    if timing.cron is None:
        assert timing.every_s is not None
        return IntervalTrigger(seconds=int(timing.every_s), timezone=UTC)
    cron, zone = plain_cron(timing.cron), ZoneInfo(timing.zone)
    if timing.once_a_day:
        return _OnceADay(CronTrigger.from_crontab(cron, UTC), zone)
    return CronTrigger.from_crontab(cron, zone)


def check_cron(text: str) -> None:
    """Raise unless *text* is a cron expression that is ever due.

    Raises:
        ValueError: it is not.
    """
    if next_time("", Timing(text), datetime.now(UTC)) is None:
        raise ValueError(f"{text!r} is never due")


def next_time(name: str, timing: Timing, now: datetime) -> datetime | None:
    """When the mirror *name* is due after *now*, for who is not the daemon."""
    return _jittered(name, timing).get_next_fire_time(None, now)


def _jittered(name: str, timing: Timing) -> "_Jittered":
    return _Jittered(trigger_of(timing), share(name) * timing.jitter_s)


def was_missed(name: str, timing: Timing, last: datetime | None, now: datetime) -> bool:
    """Whether *name* was due since it was begun last, and not too long ago."""
    if timing.every_s is not None:
        # Nothing yet: an interval begins at once.  A tenth, for the one that it takes
        # from being due to being begun.
        every = timedelta(seconds=timing.every_s)
        return last is None or last + 0.9 * every <= now
    if last is None:
        return False
    since = max(last, now - timedelta(seconds=LATE_MAX_S))
    due = next_time(name, timing, since + timedelta(seconds=1))
    return due is not None and due <= now


def share(name: str) -> float:
    """Of the jitter: from 0 to 1, the same for *name* each night."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32


class _OnceADay(BaseTrigger):  # type: ignore[misc]
    """A trigger of fixed hours: what the clocks of *zone* show, once each day.

    *inner* is of UTC, and is asked as if that were what they show: where they are
    put forward or back, APScheduler leaves out a midnight, and has hours twice.
    """

    def __init__(self, inner: BaseTrigger, zone: ZoneInfo) -> None:
        self._inner, self._zone = inner, zone

    def get_next_fire_time(
        self, _previous: datetime | None, now: datetime
    ) -> datetime | None:
        # From before any change of the clocks: a time that they leave out is later.
        shown = now.astimezone(self._zone).replace(tzinfo=UTC, fold=0) - _CHANGE_MAX
        while True:
            found: Any = self._inner.get_next_fire_time(None, shown)
            if found is None:
                return None
            when: datetime = found.replace(tzinfo=self._zone).astimezone(UTC)
            if when >= now:
                return when
            shown = found + timedelta(seconds=1)


class _Jittered(BaseTrigger):  # type: ignore[misc]
    """A trigger, and everything of it so much later.

    It is asked in UTC: a time that the clocks show twice is ambiguous by itself.
    """

    def __init__(self, inner: BaseTrigger, later_s: float) -> None:
        self._inner, self._later = inner, timedelta(seconds=later_s)

    def get_next_fire_time(
        self, previous: datetime | None, now: datetime
    ) -> datetime | None:
        after = now.astimezone(UTC)
        if previous is not None:
            after = max(after, previous.astimezone(UTC) + timedelta(seconds=1))
        found = self._inner.get_next_fire_time(None, after - self._later)
        return found.astimezone(UTC) + self._later if found else None
