"""How patient to be with a hub's API."""

from dataclasses import dataclass

from hubsync.model.units import MIB


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Timeouts, retries and ceilings of metadata requests."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0  # no byte for this long: try again
    answer_timeout_s: float = 120.0  # for a whole answer, however it trickles in
    answer_bytes_max: int = 64 * MIB  # a page of a tree is some 300 kB
    redirects_max: int = 10
    retries_max: int = 4
    backoff_base_s: float = 0.5  # a dead hub is reported within ten seconds
    backoff_max_s: float = 8.0
    rate_limits_max: int = 5  # windows to sit out for one request
    rate_limit_wait_max_s: float = 330.0  # the Hub's windows are 5 minutes
    pages_max: int = 20_000  # of one tree or list: 20 million rows
