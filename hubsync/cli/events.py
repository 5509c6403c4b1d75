"""Progress for programs: one JSON object a line on stderr (``--progress json``).

docs/progress.md has every event and its keys.
"""

from collections.abc import Mapping

from hubsync.cli.output import emit
from hubsync.cli.tally import InFlight
from hubsync.cli.watch import Watch
from hubsync.model.errors import HubsyncError

SHOWN_MAX = 8


class EventProgress(Watch):
    """Events as they come; ``progress`` at most twice a second."""

    every_s = 0.5

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        super().plan(
            files, size_bytes, reused_files=reused_files, reused_bytes=reused_bytes
        )
        self._emit(
            "plan",
            files=files,
            bytes=size_bytes,
            files_reused=reused_files,
            bytes_reused=reused_bytes,
        )

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        self._emit("file_started", path=path, bytes=size_bytes, offset=offset)
        super().file_started(path, size_bytes, offset)

    def finished(self, path: str) -> InFlight | None:
        file = super().finished(path)
        self._emit("file_done", path=path, bytes=file.size_bytes if file else None)
        return file

    def note(self, message: str) -> None:
        self._emit("note", message=message)

    def done(self, result: Mapping[str, object]) -> None:
        """The last event of what worked: what ``--json`` prints."""
        self._emit("done", **result)

    def failed(self, error: HubsyncError) -> None:
        """The last event of what did not work."""
        self._emit(
            "error",
            message=str(error),
            hint=error.hint,
            exit_code=int(error.exit_code),
        )

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

    def _emit(self, event: str, **more: object) -> None:
        elapsed = round(self.clock() - self.began_at, 3)
        what: dict[str, object] = {"of": self.label, "elapsed_s": elapsed}
        emit(event, **(what | more))
