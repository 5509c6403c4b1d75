"""How many connections there may be: of all, and of one address."""

import asyncio
from collections import Counter
from collections.abc import Callable

from hubsync.serve.metrics import Metrics
from hubsync.serve.options import ServeOptions
from hubsync.serve.shortage import Seldom


class ConnectionLimits:
    """Counts connections, and closes at once those that are too many.

    Connections of trusted proxies are counted among all, but not by address:
    theirs are everybody's.  Their clients are counted by running requests.
    """

    def __init__(
        self, options: ServeOptions, trusts: Callable[[str], bool], metrics: Metrics
    ) -> None:
        self._all_max = options.connections_max
        self._per_client_max = options.connections_per_client_max
        self._trusts, self._metrics = trusts, metrics
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self._refusals = Seldom()

    def guard(self, inner: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """A protocol for one more connection, if it may be."""
        return Guarded(self, inner())

    def admit(self, address: str) -> bool:
        """Count a connection; False: it is one too many."""
        if self._open >= self._all_max:
            return self._refuse("all", address)
        if not self.enter(address):
            return False
        self._open += 1
        self._metrics.connections(self._open)
        return True

    def leave(self, address: str) -> None:
        """The connection is over."""
        self._open -= 1
        self._metrics.connections(self._open)
        self.exit(address)

    def enter(self, client: str) -> bool:
        """Count what an address has at once; False: it is one too many."""
        if not client or self._trusts(client):
            return True
        if self._by_client[client] >= self._per_client_max:
            return self._refuse("client", client)
        self._by_client[client] += 1
        return True

    def exit(self, client: str) -> None:
        """What was entered is over."""
        self._by_client[client] -= 1
        if self._by_client[client] <= 0:
            del self._by_client[client]  # also that of a proxy, which had none

    def _refuse(self, limit: str, address: str) -> bool:
        self._metrics.refused(limit)
        # Not a line each: whoever opens too many would fill the disk, too.
        self._refusals.warn("connections refused", limit=limit, client=address)
        return False


class Guarded(asyncio.Protocol):
    """One connection: *inner* gets to see it if it is not one too many."""

    def __init__(self, limits: ConnectionLimits, inner: asyncio.Protocol) -> None:
        self._limits, self._inner = limits, inner
        self._address: str | None = None  # None: not let in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        if not self._limits.admit(address):
            transport.abort()
            return
        self._address = address
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self._limits.leave(self._address)
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._address is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._address is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
