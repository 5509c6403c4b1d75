"""Progress for programs: one JSON object a line on stderr (``--progress json``).

docs/progress.md has every event and its keys.
"""

import time
from collections.abc import Callable, Mapping

from hubsync.cli.output import emit, stamp_events
from hubsync.cli.tally import InFlight
from hubsync.cli.watch import Watch
from hubsync.model.errors import HubsyncError

SHOWN_MAX = 8


class EventProgress(Watch):
    """Events as they come; ``progress`` at most twice a second."""

    every_s = 0.5

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(label, clock)
        stamp_events(self._stamp)

    def show_plan(self) -> None:
        tally = self.tally
        self._emit(
            "plan",
            files=tally.files,
            bytes=tally.size_bytes,
            files_reused=tally.reused_files,
            bytes_reused=tally.reused_bytes,
        )

    def show_started(self, path: str, file: InFlight) -> None:
        size, there = file.size_bytes, file.there
        self._emit("file_started", path=path, bytes=size, offset=there)

    def show_done(self, path: str, file: InFlight | None) -> None:
        self._emit("file_done", path=path, bytes=file.size_bytes if file else None)

    def note(self, message: str) -> None:
        self._emit("note", message=message)

    def done(self, result: Mapping[str, object]) -> None:
        """The last event of what worked: what ``--json`` prints."""
        self._emit("done", **result)
        stamp_events(None)

    def failed(self, error: HubsyncError) -> None:
        """The last event of what did not work."""
        self._emit(
            "error",
            message=str(error),
            hint=error.hint,
            exit_code=int(error.exit_code),
        )
        stamp_events(None)

    def show(self, now_s: float) -> None:
        tally, rate = self.tally, self.tally.rate(now_s)
        eta = tally.eta_s(rate)
        self._emit(
            "progress",
            bytes=tally.arrived,
            bytes_total=tally.size_bytes,
            bytes_verified=tally.verified,
            files_done=tally.files_done,
            files=tally.files,
            rate_bytes_per_s=None if rate is None else round(rate),
            eta_s=None if eta is None else round(eta, 1),
            in_flight=[self._file(path) for path in tally.largest(SHOWN_MAX)],
        )

    def _file(self, path: str) -> Mapping[str, object]:
        file = self.tally.in_flight[path]
        return {"path": path, "bytes": file.there, "bytes_total": file.size_bytes}

    def _stamp(self) -> Mapping[str, object]:
        return {"of": self.label, "elapsed_s": round(self.clock() - self.began_at, 3)}

    def _emit(self, event: str, **more: object) -> None:
        emit(event, **{**self._stamp(), **more})
