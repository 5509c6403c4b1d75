"""Connections that are of no use: silent ones, and those that trickle."""

import asyncio

from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.options import TransferOptions


class RateWatch:
    """Notices a body that trickles: each byte in time, the whole never."""

    def __init__(self, options: TransferOptions) -> None:
        self._clock = asyncio.get_running_loop().time
        self._window_s = options.rate_window_s
        self._least = options.rate_min_bytes_per_s * options.rate_window_s
        self._ends, self._bytes = self._clock() + self._window_s, 0

    def saw(self, size_bytes: int, held_back_s: float = 0.0) -> None:
        """So much has come; for so long we ourselves kept it from coming.

        Raises:
            RetryLaterError: it is too slow to be of use.
        """
        self._bytes += size_bytes
        self._ends += held_back_s  # by us: the connection is not to blame
        if self._clock() < self._ends:
            return
        if self._bytes < self._least:
            raise RetryLaterError("the connection is too slow to be of use")
        self._ends, self._bytes = self._clock() + self._window_s, 0
