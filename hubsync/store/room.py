"""Room on the disk, which the open ingests of a store share."""

import threading
from pathlib import Path

from hubsync.store.disk import check_room


class Room:
    """What is free, less a reserve and what was promised and not yet written.

    Each ingest alone would fit where all together do not.
    """

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder, self._reserve_bytes = folder, reserve_bytes
        self._lock = threading.Lock()
        self._promised_bytes = 0

    def promise(self, size_bytes: int) -> None:
        """Set *size_bytes* aside.

        Raises:
            NoRoomError: they are not there; nothing was set aside.
        """
        with self._lock:
            need_bytes = self._promised_bytes + size_bytes
            check_room(self._folder, need_bytes, self._reserve_bytes)
            self._promised_bytes = need_bytes

    def settle(self, size_bytes: int) -> None:
        """So much of a promise is written, or wanted no more."""
        with self._lock:
            self._promised_bytes -= size_bytes
            assert self._promised_bytes >= 0, "nothing is settled twice"

    def check(self, more_bytes: int = 0) -> None:
        """Raise unless all promises, and *more_bytes*, can be kept.

        Raises:
            NoRoomError: somebody else has filled the disk meanwhile.
        """
        with self._lock:
            need_bytes = self._promised_bytes + more_bytes
        check_room(self._folder, need_bytes, self._reserve_bytes)
