"""What progress was told of one file: it is told of changes only."""

from hubsync.transfer.run import Run


class Shown:
    """How much of a file has arrived, and how much of that is hashed."""

    def __init__(self, run: Run, path: str, size_bytes: int) -> None:
        self._run, self._path, self._size_bytes = run, path, size_bytes
        self._resumed = 0  # bytes that were there before us, and still are
        self.there = -1  # bytes that have arrived; -1: not started
        self.hashed = 0

    def arrived(self, there: int) -> None:
        """Tell progress that *there* bytes are there now."""
        progress = self._run.progress
        if self.there < 0:
            progress.file_started(self._path, self._size_bytes, there)
            self._run.bytes_resumed += there
            self._resumed = there
        elif there != self.there:
            progress.file_advanced(self._path, there - self.there)
        self.there = there
        if (dropped := self._resumed - there) > 0:
            self._run.bytes_resumed -= dropped
            self._resumed = there

    def verified(self, hashed: int) -> None:
        """Tell progress that the first *hashed* bytes are hashed now."""
        if hashed != self.hashed:
            more = hashed - self.hashed
            self.hashed = hashed
            self._run.progress.file_verified(self._path, more)

    def nothing(self) -> None:
        """What had arrived is thrown away."""
        self.arrived(0)
        self.verified(0)
