"""Progress in a log: a line now and then, and nothing that moves."""

import time
from collections.abc import Callable

from hubsync.cli.output import say
from hubsync.cli.tally import Tally, format_seconds
from hubsync.model.units import format_size

EVERY_S = 10.0


class PlainProgress:
    """One line of text every ten seconds while something is going on."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock, self._tally = label, clock, Tally()
        self._said_at = clock()

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        tally = self._tally
        tally.files, tally.size_bytes = files, size_bytes
        tally.rate(self._clock())

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self._tally.started(path, size_bytes, offset)

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self._tally.advanced(path, size_bytes)
        if self._clock() - self._said_at >= EVERY_S:
            self._say()

    def file_verified(self, path: str, size_bytes: int) -> None:
        self._tally.verified += size_bytes

    def file_done(self, path: str) -> None:
        self._tally.done(path)

    def note(self, message: str) -> None:
        say(f"hubsync: {message}")

    def close(self) -> None:
        """Nothing is left on the screen."""

    def _say(self) -> None:
        self._said_at = now = self._clock()
        tally, rate = self._tally, self._tally.rate(now)
        percent = 100 * tally.arrived // max(tally.size_bytes, 1)
        text = (
            f"{self._label}: {percent} %, {format_size(tally.arrived)} of "
            f"{format_size(tally.size_bytes)}, {tally.files_done}/{tally.files} files"
        )
        eta = tally.eta_s(rate)
        if rate is not None and eta is not None:
            text += f", {format_size(rate)}/s, {format_seconds(eta)} to go"
        say(text)
