"""Progress for programs: one JSON object a line on stderr (``--progress json``).

docs/progress.md has every event and its keys.
"""

import json
import time
from collections.abc import Callable

import click

from hubsync.cli.tally import Tally
from hubsync.model.errors import HubsyncError

EVERY_S = 0.5


class EventProgress:
    """Events as they come; ``progress`` at most twice a second."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock, self._tally = label, clock, Tally()
        self._began_at = self._said_at = clock()

    def emit(self, event: str, **more: object) -> None:
        """One line."""
        elapsed = round(self._clock() - self._began_at, 3)
        line = {"event": event, "repo": self._label, "elapsed_s": elapsed, **more}
        click.echo(json.dumps(line, ensure_ascii=False), err=True)

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        self._tally.files, self._tally.size_bytes = files, size_bytes
        self._tally.rate(self._clock())
        self.emit(
            "plan",
            files=files,
            bytes=size_bytes,
            files_reused=reused_files,
            bytes_reused=reused_bytes,
        )

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self._tally.started(path, size_bytes, offset)
        self.emit("file_started", path=path, bytes=size_bytes, offset=offset)

    def file_advanced(self, path: str, size_bytes: int) -> None:
        self._tally.advanced(path, size_bytes)
        self._perhaps()

    def file_verified(self, path: str, size_bytes: int) -> None:
        self._tally.verified += size_bytes
        self._perhaps()

    def file_done(self, path: str) -> None:
        file = self._tally.in_flight.get(path)
        self._tally.done(path)
        self.emit("file_done", path=path, bytes=file.size_bytes if file else None)

    def note(self, message: str) -> None:
        self.emit("note", message=message)

    def failed(self, error: HubsyncError) -> None:
        """The last event of what did not work."""
        self.emit(
            "error",
            message=str(error),
            hint=error.hint,
            exit_code=int(error.exit_code),
        )

    def close(self) -> None:
        """Every line is out already."""

    def _perhaps(self) -> None:
        now = self._clock()
        if now - self._said_at < EVERY_S:
            return
        self._said_at = now
        tally, rate = self._tally, self._tally.rate(now)
        eta = tally.eta_s(rate)
        self.emit(
            "progress",
            bytes=tally.arrived,
            bytes_total=tally.size_bytes,
            bytes_verified=tally.verified,
            files_done=tally.files_done,
            files=tally.files,
            rate_bytes_per_s=None if rate is None else round(rate),
            eta_s=None if eta is None else round(eta, 1),
            in_flight=[
                {"path": path, "bytes": file.there, "bytes_total": file.size_bytes}
                for path, file in list(tally.in_flight.items())[:8]
            ],
        )
