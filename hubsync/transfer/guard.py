"""Where requests may go: nowhere near us, unless the upstream is there itself.

A hub's answer may redirect anywhere.  Following it into the network that this
machine stands in would let a stranger ask things of its neighbours: the cloud's
metadata service, a router, a database.  So every host is resolved here, what it
resolves to is looked at, and exactly those addresses are connected to: a name
that says something else a moment later (DNS rebinding) gains nothing.

Behind a proxy it is the proxy that resolves: only addresses can be looked at
then, and the proxy's own rules have to do the rest.
"""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from hubsync.ports.hub import HubAnswerError
from hubsync.wire.addresses import is_ambiguous, is_public, parse_address


class EgressError(HubAnswerError):
    """A redirect into a network that the upstream is not part of."""

    def __init__(self, host: str, addresses: str) -> None:
        where = host if host == addresses else f"{host} ({addresses})"
        super().__init__(
            f"redirected to {where}, which is not on the internet: not followed",
            hint="A hub that is not itself on such an address has no reason to send "
            "us there. If yours does, configure the upstream's endpoint by its "
            "address in your network.",
        )


def check_literal(host: str) -> None:
    """Refuse *host* if it is an address, and not one of the internet.

    The HTTP library asks no resolver about those.

    Raises:
        EgressError: it is not public, or not everybody reads it alike.
    """
    literal = parse_address(host)
    if is_ambiguous(host) or (literal is not None and not is_public(literal)):
        raise EgressError(host, str(literal or host))


class PatientResolver(AbstractResolver):
    """Gives up a lookup after *timeout_s*, and knows one kind of failure."""

    def __init__(self, inner: AbstractResolver, timeout_s: float) -> None:
        self._inner, self._timeout_s = inner, timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As `AbstractResolver.resolve`.

        Raises:
            socket.gaierror: there is no such name, or nobody who would know.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._inner.resolve(host, port, family)
        except TimeoutError as error:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from error
        except UnicodeError as error:  # a label of no or too many letters
            raise socket.gaierror(socket.EAI_NONAME, "no host is so named") from error

    async def close(self) -> None:
        await self._inner.close()


class GuardedResolver(AbstractResolver):
    """Gives only addresses of the internet, and those of *proxies*."""

    def __init__(
        self,
        inner: AbstractResolver,
        proxies: frozenset[tuple[str | None, int | None]] = frozenset(),
    ) -> None:
        self._inner, self._proxies = inner, proxies

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As `AbstractResolver.resolve`.

        Raises:
            EgressError: all that *host* resolves to is not public.
        """
        found = await self._inner.resolve(host, port, family)
        if (host, port) in self._proxies:
            return found
        public = [one for one in found if _is_public(one)]
        if not public:
            addresses = sorted({one["host"] for one in found})
            raise EgressError(host, ", ".join(addresses))
        return public

    async def close(self) -> None:
        await self._inner.close()


class Homes:
    """Which upstreams are themselves in a network that is not public.

    A mirror of a hub in the office must be able to follow it to its storage,
    also in the office, whatever the names.  The same holds where a resolver
    answers every name with an address of its own (198.18.0.0/15).
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver
        self._lookups: dict[tuple[str, int], asyncio.Task[bool]] = {}

    def known(self, host: str, port: int) -> bool | None:
        """What is known without asking; None: nothing."""
        literal = parse_address(host)
        if literal is not None:
            return not is_public(literal)
        lookup = self._lookups.get((host, port))
        if lookup is None or not lookup.done() or _failed(lookup):
            return None
        return lookup.result()

    async def is_near(self, host: str, port: int) -> bool:
        """Look *host* up, once for all who ask.

        Raises:
            socket.gaierror: nobody knows the name; it is looked up again next time.
        """
        known = self.known(host, port)
        if known is not None:
            return known
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(host, port))
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda done: self._looked_up(host, port, done))
        return await asyncio.shield(lookup)

    def _looked_up(self, host: str, port: int, lookup: "asyncio.Task[bool]") -> None:
        if _failed(lookup):
            del self._lookups[host, port]

    async def _look_up(self, host: str, port: int) -> bool:
        found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        return not all(_is_public(one) for one in found)

    async def close(self) -> None:
        """Wait for nobody any more."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)


def _failed(lookup: "asyncio.Task[bool]") -> bool:
    return lookup.cancelled() or lookup.exception() is not None


def _is_public(one: ResolveResult) -> bool:
    address = parse_address(one["host"])
    return address is not None and is_public(address)
