"""How hard to pull.  Each field is one key under ``[transfer]``."""

from dataclasses import dataclass

from hubsync.model.units import MIB


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Limits and patience of the transfer engine."""

    connections_max: int = 32  # over all files of a run
    connections_per_file_max: int = 24  # of them, for one large file
    large_files_max: int = 4  # in flight at once: each leaves a partial when killed
    part_bytes_max: int = 32 * MIB  # of a large file, in one request
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0  # no byte for this long: drop the connection
    rate_min_bytes_per_s: int = 1024  # slower than this over the window: drop it
    rate_window_s: float = 60.0
    retries_max: int = 5  # in a row without a byte more than ever before
    backoff_base_s: float = 0.5
    backoff_max_s: float = 30.0
    rate_limit_wait_max_s: float = 330.0  # the Hub's windows are 5 minutes
    redirects_max: int = 10
    block_bytes: int = MIB // 2  # handed to the disk at once
    stall_timeout_s: float = 600.0  # no byte of any file for this long: give up
    checkpoint_bytes: int = 256 * MIB  # of a large file, between two syncs
    checkpoint_s: float = 10.0
    rate_bytes_per_s: int | None = None  # None: no limit

    @property
    def part_bytes_min(self) -> int:
        """The last parts of a file are this small; smaller files come whole."""
        return max(self.part_bytes_max // 32, 1)

    @property
    def whole_bytes_max(self) -> int:
        """Files up to this size are asked for in one request."""
        return self.part_bytes_max // 4
