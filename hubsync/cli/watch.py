"""What bars, lines and events have in common: they add up, and show now and then."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from hubsync.cli.tally import InFlight, Tally

LOOK_S = 0.5


class Watch(ABC):
    """A `Progress` that keeps the tally; the ones made of it only show it.

    It costs next to nothing between two looks: a transfer of 100,000 files calls
    it a million times.  Each call adds a number, and what is expensive is done
    every *every_s* at most.
    """

    every_s = 0.5

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self.clock, self.tally = label, clock, Tally()
        self.began_at = clock()
        self._due = self.began_at + self.every_s
        self._timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def show(self, now_s: float) -> None:
        """Show where it stands."""

    def show_plan(self) -> None:  # noqa: B027 - lines need not
        """What is to be done is known: the tally says it."""

    def show_started(self, path: str, file: InFlight) -> None:  # noqa: B027 - events alone tell
        """*path* was begun just now."""

    def show_done(self, path: str, file: InFlight | None) -> None:  # noqa: B027 - events alone tell
        """*path* is done; what was known of it."""

    @abstractmethod
    def note(self, message: str) -> None:
        """One line for a person."""

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        self.tally = Tally(files, size_bytes, reused_files, reused_bytes)
        self.tally.rate(self.clock())
        if files:
            self._keep_looking()
        self.show_plan()

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self.tally.started(path, size_bytes, offset)
        self.show_started(path, self.tally.in_flight[path])
        self._perhaps()

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self.tally.advanced(path, size_bytes)
        self._perhaps()

    def file_verified(self, path: str, size_bytes: int) -> None:
        self.tally.verified += size_bytes
        self._perhaps()

    def file_done(self, path: str) -> None:
        self.show_done(path, self.tally.done(path))
        self._perhaps()

    def close(self) -> None:
        """Show nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _perhaps(self) -> None:
        now = self.clock()
        if now >= self._due:
            self._due = now + self.every_s
            self.show(now)

    def _keep_looking(self) -> None:
        """Also when nothing comes: a speed that stands still would be a lie."""
        self.close()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # hashing a folder: no loop, and it never stands still
            return

        def look() -> None:
            self._perhaps()
            self._timer = loop.call_later(LOOK_S, look)

        self._timer = loop.call_later(LOOK_S, look)
