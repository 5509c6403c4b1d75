"""When a mirror is due: what is written, checked and made exact."""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * sun",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIELDS = 5
_DAY_OF_WEEK = 4
_HOUR = 1
_DAY = "[0-7]|sun|mon|tue|wed|thu|fri|sat"
_PART = re.compile(rf"(?:\*|({_DAY})(?:-({_DAY}))?)(?:/([1-7]))?")


@dataclass(frozen=True, slots=True)
class Timing:
    """When one mirror is due: at times of *cron* in *zone*, or *every_s* seconds.

    *jitter_s*: begun up to so much later, each mirror by its own share of it.
    """

    cron: str | None = None
    every_s: float | None = None
    zone: str = "UTC"
    jitter_s: float = 0.0

    @property
    def once_a_day(self) -> bool:
        """At fixed hours: not again when the clocks are put back over one."""
        return self.cron is not None and "*" not in plain_cron(self.cron).split()[_HOUR]


def check_zone(name: str) -> str:
    """Return *name* if it is a time zone.

    Raises:
        ValueError: it is none.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is no time zone: write it as Europe/Berlin or Asia/Shanghai"
        ) from error
    return name


def plain_cron(text: str) -> str:
    """*text* as cron means it, with days of the week by their names.

    The scheduler counts days from Monday; cron counts from Sunday, and has 7, too.

    Raises:
        ValueError: it has not five fields.
    """
    text = _MACROS.get(text.strip().casefold(), text)
    fields = text.split()
    if len(fields) != _FIELDS:
        raise ValueError(
            f"{text!r} has {len(fields)} fields; minute, hour, day, month and day of "
            'the week are five: "0 2 * * *" is each night at 2'
        )
    fields[_DAY_OF_WEEK] = _named(fields[_DAY_OF_WEEK])
    return " ".join(fields)


def _named(days: str) -> str:
    """``5-7`` is ``fri,sat,sun``; ``*`` and what is no day of cron's stay."""
    found: list[str] = []
    for part in days.casefold().split(","):
        parsed = _PART.fullmatch(part)
        if part == "*" or parsed is None:
            found.append(part)
            continue
        first, last = _number(parsed[1] or "0"), _number(parsed[2] or parsed[1] or "6")
        if parsed[3] and not parsed[2]:
            last = 6  # "2/3": from there on
        if first > last:
            raise ValueError(f"{part!r}: a range of days ends before it begins")
        step = int(parsed[3] or 1)
        found += [_DAYS[day] for day in range(first, last + 1, step)]
    return ",".join(dict.fromkeys(found))


def _number(day: str) -> int:
    return int(day) if day.isdigit() else _DAYS.index(day)
