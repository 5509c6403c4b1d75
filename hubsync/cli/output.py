"""Data on stdout: JSON lines, or tables a person can read."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

import click


def print_json(value: Mapping[str, object]) -> None:
    """One object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    return str(value)


def iso(when: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second: ``2026-01-02T03:04:05Z``."""
    if when is None:
        return None
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """*text* without what a terminal would obey: titles and errors are a hub's."""
    return _CONTROLS.sub("?", text)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their content; nothing when there is no row."""
    shown = [tuple(headers), *(tuple(row) for row in rows)]
    if len(shown) == 1:
        return
    widths = [max(len(row[i]) for row in shown) for i in range(len(headers))]
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(printable("  ".join(cells).rstrip()))


def say(text: str) -> None:
    """Talk: on stderr, so that stdout stays data."""
    if in_events():
        emit("note", message=text.removeprefix("hubsync: "))
    else:
        click.echo(printable(text), err=True)


@dataclass(slots=True)
class _Events:
    """That talk is events, and what each of them says besides."""

    stamp: Callable[[], Mapping[str, object]] | None = None


_EVENTS: ContextVar[_Events | None] = ContextVar("_EVENTS", default=None)


@contextmanager
def talking(*, in_events: bool) -> Iterator[None]:
    """For one command: whether its talk is for a program (``--progress json``)."""
    before = _EVENTS.set(_Events() if in_events else None)
    try:
        yield
    finally:
        _EVENTS.reset(before)


def in_events() -> bool:
    """Whether every line on stderr has to be an event."""
    return _EVENTS.get() is not None


def stamp_events(stamp: Callable[[], Mapping[str, object]] | None) -> None:
    """From now on *stamp* says for every event what it is of: notes, errors, Ctrl-C."""
    if (events := _EVENTS.get()) is not None:
        events.stamp = stamp


def emit(event: str, **more: object) -> None:
    """One event on stderr.  In ASCII: no encoding of a terminal can break it."""
    events = _EVENTS.get()
    stamp = events.stamp() if events is not None and events.stamp else {}
    line = json.dumps({"event": event, **stamp, **more}, default=_plain)
    sys.stderr.write(line + "\n")  # at once: stderr is line-buffered
