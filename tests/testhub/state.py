"""What the two servers and the test share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.testhub.faults import Faults
from tests.testhub.limits import RateLimits
from tests.testhub.lists import PAGE_ROWS_MAX, Collections
from tests.testhub.log import Log, Seen
from tests.testhub.world import World


@dataclass(slots=True)
class Pace:
    """How slow both servers are; a test may change it while they run."""

    rate_bytes_per_s: int | None = None  # of each body, so of each connection
    latency_s: float = 0.0  # before each answer
    released: asyncio.Event = field(default_factory=asyncio.Event)  # ends all stalls


class HubState:
    """The repos, the orders for faults, the log of requests."""

    def __init__(self, folder: Path, page_size: int, url_lifetime_s: float) -> None:
        self.world = World(folder)
        self.faults, self.log, self.limits = Faults(), Log(), RateLimits()
        self.pace = Pace()
        self.sets_cookies = False
        # How often, and for how many bytes, one signed address is good.
        self.url_requests_max: int | None = None
        self.url_bytes_max: int | None = None
        self.collections = Collections()
        self.list_page_rows = PAGE_ROWS_MAX  # of a list of repos, at most
        self.page_size, self.url_lifetime_s = page_size, url_lifetime_s
        self.endpoint = self.cdn_endpoint = ""
        # Called with each request before it is answered: to move a branch then.
        self.hooks: list[Callable[[Seen], None]] = []
