"""An open file that many threads use, closed only when none is at it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hubsync.model.errors import HubsyncError


class Handle:
    """Owns a descriptor.

    Once it is closed the kernel gives its number to the next file: a thread that
    still wrote to it would write there.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._users = 0
        self._is_over = False
        self._why: HubsyncError | None = None

    @contextmanager
    def use(self) -> Iterator[int]:
        """The descriptor, open for as long as this lasts.

        Raises:
            HubsyncError: what another thread ended it with.
        """
        with self._lock:
            self.require_open()
            self._users += 1
        try:
            yield self._fd
        finally:
            self._leave()

    @contextmanager
    def end(self, why: HubsyncError | None = None) -> Iterator[int | None]:
        """Let nobody in any more; the descriptor for a last time.

        None: it is over already.  Whoever is in may finish; the last one closes.
        """
        with self._lock:
            if self._is_over:
                is_first = False
            else:
                is_first, self._is_over, self._why = True, True, why
                self._users += 1
        try:
            yield self._fd if is_first else None
        finally:
            if is_first:
                self._leave()

    def require_open(self) -> None:
        """Raise what it was ended with, if it was."""
        if not self._is_over:
            return
        # Without the lock, the name may be somebody else's partial by now.
        assert self._why, "an ingest ends with publish, abort or an error"
        raise self._why

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._is_over and not self._users:
                os.close(self._fd)
