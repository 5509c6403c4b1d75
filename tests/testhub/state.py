"""What the two servers and the test share."""

from collections.abc import Callable
from pathlib import Path

from tests.testhub.faults import Faults
from tests.testhub.limits import RateLimits
from tests.testhub.log import Log, Seen
from tests.testhub.world import World


class HubState:
    """The repos, the orders for faults, the log of requests."""

    def __init__(self, folder: Path, page_size: int, url_lifetime_s: float) -> None:
        self.world = World(folder)
        self.faults, self.log, self.limits = Faults(), Log(), RateLimits()
        self.page_size, self.url_lifetime_s = page_size, url_lifetime_s
        self.endpoint = self.cdn_endpoint = ""
        # Called with each request before it is answered: to move a branch then.
        self.hooks: list[Callable[[Seen], None]] = []
