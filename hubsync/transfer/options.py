"""How hard to pull.  Each field is one key under ``[transfer]``."""

from dataclasses import dataclass

from hubsync.model.units import MIB


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Limits and patience of the transfer engine."""

    files_in_flight_max: int = 8
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0  # no byte for this long: drop the connection
    rate_min_bytes_per_s: int = 1024  # slower than this over the window: drop it
    rate_window_s: float = 60.0
    retries_max: int = 5  # in a row without a byte more than ever before
    backoff_base_s: float = 0.5
    backoff_max_s: float = 30.0
    rate_limit_wait_max_s: float = 330.0  # the Hub's windows are 5 minutes
    redirects_max: int = 10
    block_bytes: int = MIB  # handed to the disk at once
    rate_bytes_per_s: int | None = None  # None: no limit
