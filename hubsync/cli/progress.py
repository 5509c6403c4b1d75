"""Which progress suits whoever is watching."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from hubsync.cli.common import Common
from hubsync.cli.events import EventProgress
from hubsync.cli.output import say
from hubsync.cli.plain_progress import PlainProgress
from hubsync.cli.watch import Watch
from hubsync.ports.progress import SilentProgress

MODES = ("auto", "bar", "plain", "json", "none")


class NotesOnly(SilentProgress):
    """No progress, but what a person must know."""

    def note(self, message: str) -> None:
        say(f"hubsync: {message}")

    def close(self) -> None:
        """Nothing is left on the screen."""


class Nothing(SilentProgress):
    """``--quiet``."""

    def close(self) -> None:
        """Nothing is left on the screen."""


AnyProgress = Watch | NotesOnly | Nothing


def progress_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--progress``, as the argument *progress_mode*."""
    option = click.option(
        "--progress",
        "progress_mode",
        type=click.Choice(MODES),
        default="auto",
        help="How to show progress on stderr; json: one event a line.",
    )
    return option(command)


def progress_for(common: Common, mode: str, label: str) -> AnyProgress:
    """Bars for a person at a terminal, lines for a log, events for a program.

    *label*: what it is of, a repo or a folder.  Who asks for events gets them,
    whatever else is asked for.
    """
    if mode == "json":
        return EventProgress(label)
    if common.quiet:
        return Nothing()
    if mode == "none" or common.no_progress:
        return NotesOnly()
    if mode == "auto":
        mode = "bar" if _somebody_watches() else "plain"
    if mode == "plain":
        return PlainProgress(label)
    # tqdm takes a while to import, and a nightly job shows no bar.
    from hubsync.cli.bars import BarProgress  # noqa: PLC0415

    return BarProgress(label)


def _somebody_watches() -> bool:
    """Whether stderr is a terminal that can move its cursor: some CI systems lie."""
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not ci
