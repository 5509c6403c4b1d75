"""Where requests may go: nowhere near us, unless the upstream is there itself.

A hub's answer may redirect anywhere.  Following it into the network that this
machine stands in would let a stranger ask things of its neighbours: the cloud's
metadata service, a router, a database.  So every host is resolved here, what it
resolves to is looked at, and exactly those addresses are connected to: a name
that says something else a moment later (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hubsync.ports.hub import HubAnswerError
from hubsync.wire.addresses import is_public, parse_address


class EgressError(HubAnswerError):
    """A redirect into a network that the upstream is not part of."""

    def __init__(self, host: str, addresses: str) -> None:
        super().__init__(
            f"{host} is {addresses}, which is no address of the internet: not followed",
            hint="A hub that is not itself on such an address has no reason to send "
            "us there. If yours does, configure the upstream's endpoint by that "
            "address.",
        )


class GuardedResolver(AbstractResolver):
    """Resolves names, and gives only addresses that may be connected to.

    Everything is allowed once `trust` has found the upstream on an address that
    is not public; and always the proxies that the environment names.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()
        self._trusted: dict[str, bool] = {}
        self._asking = asyncio.Lock()
        self._proxies = {urlsplit(url).hostname for url in getproxies().values()}

    @property
    def allows_private(self) -> bool:
        """Whether every upstream asked for is itself on no public address."""
        return bool(self._trusted) and all(self._trusted.values())

    async def trust(self, host: str, port: int) -> None:
        """Look where the upstream *host* is; what it may send us to follows."""
        if host in self._trusted:
            return
        async with self._asking:
            if host in self._trusted:
                return
            literal = parse_address(host)
            if literal is not None:
                self._trusted[host] = not is_public(literal)
                return
            try:
                found = await self._inner.resolve(host, port, socket.AF_UNSPEC)
            except OSError:
                return  # the request itself will say so, or a proxy resolves it
            addresses = [parse_address(one["host"]) for one in found]
            self._trusted[host] = any(one and not is_public(one) for one in addresses)

    def check_literal(self, host: str) -> None:
        """Refuse *host* if it is an address that may not be connected to.

        The HTTP library asks no resolver about those.

        Raises:
            EgressError: it is not public.
        """
        literal = parse_address(host)
        if literal is not None and not (self.allows_private or is_public(literal)):
            raise EgressError(host, "an address of a private network")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As `AbstractResolver.resolve`.

        Raises:
            EgressError: all that *host* resolves to is not public.
        """
        found = await self._inner.resolve(host, port, family)
        if self.allows_private or host in self._proxies:
            return found
        public = []
        for one in found:
            address = parse_address(one["host"])
            if address is not None and is_public(address):
                public.append(one)
        if not public:
            raise EgressError(host, ", ".join(sorted({one["host"] for one in found})))
        return public

    async def close(self) -> None:
        await self._inner.close()
