"""One host that is in trouble is asked by one request at a time.

However many files wait for it: without this, each would come back after its own
pause, and a hub that is down would be met by all of them at once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hubsync.ports.hub import UnavailableError
from hubsync.transfer.options import TransferOptions

FAILURES_MAX = 5  # in a row, before a host is taken to be in trouble


@dataclass(slots=True)
class _Host:
    failures: int = 0  # in a row
    probes: int = 0  # of them, sent one at a time
    is_open: bool = False
    is_probing: bool = False
    opens_at: float = 0.0  # loop time of the next probe
    why: str = ""
    status: int | None = None  # of its last failure, if that was an answer
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(slots=True)
class Attempt:
    """One request, and how it ended: None if nobody can tell."""

    answered: bool | None = None
    why: str = ""
    status: int | None = None


class Breaker:
    """The state of every host of a run."""

    def __init__(
        self,
        options: TransferOptions,
        jitter: Callable[[], float] | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options, self._note = options, note
        self._jitter = jitter or (lambda: random.uniform(0.5, 1.0))  # noqa: S311
        self._hosts: dict[str, _Host] = {}

    @property
    def quiet_until(self) -> float:
        """Loop time until which silence is our own doing."""
        return max((host.opens_at for host in self._hosts.values()), default=0.0)

    @asynccontextmanager
    async def attempt(self, name: str) -> AsyncIterator[Attempt]:
        """Wait until *name* may be asked; say in the `Attempt` whether it answered.

        Raises:
            UnavailableError: it has not answered for so long that we give up.
        """
        host = self._hosts.setdefault(name, _Host())
        is_probe = await self._passed(name, host)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            self._ended(name, host, attempt, is_probe=is_probe)

    async def _passed(self, name: str, host: _Host) -> bool:
        """Wait; whether this is the one request that tries if it is back."""
        clock = asyncio.get_running_loop().time
        while host.is_open:
            if host.probes >= self._options.retries_max:
                raise UnavailableError(
                    f"{name} is down: {host.why} (asked {host.failures} times)",
                    hint="Try again later. What has arrived is kept, and the next "
                    "pull goes on from there.",
                    answered=host.status is not None,
                )
            if not host.is_probing and host.opens_at <= clock():
                host.is_probing = True
                return True
            left = None if host.is_probing else host.opens_at - clock()
            try:
                async with asyncio.timeout(left):
                    await host.changed.wait()
            except TimeoutError:
                continue
        return False

    def _ended(
        self, name: str, host: _Host, attempt: Attempt, *, is_probe: bool
    ) -> None:
        if is_probe:
            host.is_probing = False
        if attempt.answered:
            host.failures = host.probes = 0
            host.is_open, host.opens_at = False, 0.0
        elif attempt.answered is False:
            host.failures += 1
            host.why, host.status = attempt.why, attempt.status
            # Those that were under way when it opened end in vain, too: they are
            # no reason to wait longer.
            if is_probe or (host.failures >= FAILURES_MAX and not host.is_open):
                if not host.is_open:
                    self._note(f"{name} is in trouble: {host.why}; asking less often")
                host.is_open = True
                host.probes += is_probe
                host.opens_at = self._next(host)
        host.tell()

    def _next(self, host: _Host) -> float:
        options = self._options
        longest = min(options.backoff_base_s * 2.0**host.probes, options.backoff_max_s)
        return asyncio.get_running_loop().time() + longest * self._jitter()
