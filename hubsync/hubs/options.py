"""How patient to be with a hub's API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Timeouts and retries of metadata requests."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    retries_max: int = 4
    backoff_base_s: float = 0.5
    backoff_max_s: float = 8.0
    rate_limits_max: int = 5  # windows to sit out for one request
    rate_limit_wait_max_s: float = 330.0  # the Hub's windows are 5 minutes
    pages_max: int = 100_000  # of one tree: 100 million files
