"""A blob on its way into the store, which any number of readers follow."""

import asyncio
import os
from abc import ABC, abstractmethod
from types import TracebackType
from typing import BinaryIO, Self

from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.ports.blobs import Ingest

# The end of a blob is not shown before all of it is verified: whoever was sent
# wrong bytes before it finds the answer cut off, and never takes it for whole.
HELD_BACK_BYTES = 64 * 1024


class StartedOverError(HubsyncError):
    """What was read so far may be wrong: the hub is asked for it anew."""

    exit_code = ExitCode.INTEGRITY
    retryable = True

    def __init__(self) -> None:
        super().__init__("the hub sent something else before")


class Coming(ABC):
    """What readers see of it.  In one event loop; `Incoming`, `remote` feed it."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.start = 0  # counts how often what is there began anew
        self.is_verified = False
        self.is_over = False
        self.error: BaseException | None = None
        self._moved = asyncio.Event()

    @property
    @abstractmethod
    def shown_bytes(self) -> int:
        """Up to where the bytes may be given away."""

    @abstractmethod
    def dup(self) -> int:
        """A descriptor of one's own, to be closed, of what is there."""

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will happen: the blob is in the store, or *error*."""
        self.is_over, self.error = True, error
        self._close()
        self._wake()

    @abstractmethod
    def _close(self) -> None:
        """Let go of the file."""

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self) -> None:
        """Wait until something has happened."""
        await self._moved.wait()

    async def stored(self) -> None:
        """Wait until the blob is in the store.

        Raises:
            HubError, BlobCorruptError, NoRoomError: why it is not.
        """
        while not self.is_over:
            await self.moved()
        if self.error is not None:
            raise self.error


class Incoming(Coming):
    """As `transfer.fetch.Watch`, where it is fetched."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._ingest: Ingest | None = None
        self._file: BinaryIO | None = None

    def begun(self, ingest: Ingest) -> None:
        """As `Watch.begun`."""
        self._close()
        self.start += 1
        self._ingest, self._file = ingest, ingest.reader()
        self._wake()

    def advanced(self) -> None:
        """As `Watch.advanced`."""
        self._wake()

    def restarted(self) -> None:
        """As `Watch.restarted`."""
        self.start += 1
        self._wake()

    def verified(self) -> None:
        """As `Watch.verified`."""
        self.is_verified = True
        self._wake()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._ingest = None

    @property
    def shown_bytes(self) -> int:
        """As `Coming.shown_bytes`."""
        if self._ingest is None:
            return 0
        if self.is_verified:
            return self.size_bytes
        return max(min(self._ingest.offset, self.size_bytes - HELD_BACK_BYTES), 0)

    def dup(self) -> int:
        """As `Coming.dup`."""
        assert self._file is not None, "only while something is shown"
        return os.dup(self._file.fileno())


class Reader:
    """Follows a `Coming`.  Use as a context manager."""

    def __init__(self, incoming: Coming) -> None:
        self._incoming = incoming
        self._start = 0
        self._fd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)

    @property
    def fd(self) -> int:
        """Where to read, once `reach` has said up to where."""
        assert self._fd is not None, "`reach` has not answered yet"
        return self._fd

    async def reach(self, offset: int) -> int | None:
        """Wait until bytes behind *offset* may be read; up to where.

        None: all is in the store, and nothing was to be read before.

        Raises:
            StartedOverError: something was, and may be wrong.
            HubError, BlobCorruptError, NoRoomError: the rest will not come.
        """
        incoming = self._incoming
        while True:
            if self._fd is not None and self._start != incoming.start:
                raise StartedOverError
            if incoming.is_over:
                await incoming.stored()  # or its error
                # Our descriptor outlives the name: all of it is there.
                return None if self._fd is None else incoming.size_bytes
            shown = incoming.shown_bytes
            if shown > offset:
                if self._fd is None:
                    self._fd, self._start = incoming.dup(), incoming.start
                return shown
            await incoming.moved()
