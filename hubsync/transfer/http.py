"""One GET, redirects followed by our own hand, one hop at a time."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from hubsync import __version__
from hubsync.ports.hub import HubAnswerError, Source
from hubsync.ports.limiter import Budget
from hubsync.transfer.breaker import Attempt, Breaker
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.guard import (
    GuardedResolver,
    Homes,
    PatientResolver,
    check_literal,
)
from hubsync.transfer.limiter import Gates
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.proxies import Proxies
from hubsync.transfer.silence import final_error, reason

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FIELD_BYTES_MAX = 64 * 1024  # signed addresses in Location are long
_SERVER_ERROR = 500
_NOTE_BYTES_MAX = 64 * 1024  # "Found. Redirecting to …"


class RedirectError(HubAnswerError):
    """A redirect that must not be followed."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="A proxy or a log-in page may be answering in the hub's place. "
            "Check the network and the endpoint.",
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The final answer, and the hops it took.

    *from_hub*: it came from the source's own origin, where the credentials are
    good, and not from wherever that sent us.  *listed*: what the hub itself says
    of the file, in the headers of the answer that led to it.
    """

    response: aiohttp.ClientResponse
    hops: int
    from_hub: bool
    url: str
    listed: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return name_of(self.response.url)


class Session:
    """An HTTP session that keeps nothing from one request to the next.

    Two sets of connections: one goes anywhere and is for upstreams that stand in
    a private network, the other goes to the internet only.  Neither can be met
    with what was resolved or opened for the other.
    """

    def __init__(
        self, options: TransferOptions, resolver: AbstractResolver | None = None
    ) -> None:
        self.proxies = Proxies()
        names = PatientResolver(
            resolver or ThreadedResolver(), options.connect_timeout_s
        )
        guarded = GuardedResolver(names, self.proxies.addresses)
        self.homes = Homes(names)
        self._anywhere = _client(options, names)
        self._internet = _client(options, guarded)

    async def get(
        self, url: URL, headers: Mapping[str, str], *, near: bool
    ) -> aiohttp.ClientResponse:
        """One GET, no redirects; *near*: of an upstream in a private network.

        Raises:
            EgressError: *url* is in a private network, and the upstream is not.
            aiohttp.ClientError, TimeoutError, OSError: no answer.
        """
        assert url.host, "checked where it came from"
        if not near:
            check_literal(url.host)
        client = self._anywhere if near else self._internet
        return await client.get(
            url, headers=headers, allow_redirects=False, proxy=self.proxies.of(url)
        )

    def known_near(self, home: URL) -> bool | None:
        """As `is_near`, if that is known without asking."""
        assert home.host, "checked where it came from"
        known = self.homes.known(home.host, home.port or 0)
        if self.proxies.of(home) is not None:
            return bool(known)  # a name that only the proxy may know
        return known

    async def is_near(self, home: URL) -> bool:
        """Whether the upstream at *home* stands in a private network.

        Raises:
            OSError: its name cannot be resolved.
        """
        assert home.host, "checked where it came from"
        return await self.homes.is_near(home.host, home.port or 0)

    async def close(self) -> None:
        await self.homes.close()
        await self._anywhere.close()
        await self._internet.close()


def _client(
    options: TransferOptions, resolver: AbstractResolver
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=0, resolver=resolver, ttl_dns_cache=60
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,  # see `Proxies`
        read_bufsize=options.block_bytes // 2,
        max_line_size=_FIELD_BYTES_MAX,
        max_field_size=_FIELD_BYTES_MAX,
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=options.connect_timeout_s,
            sock_read=options.read_timeout_s,
        ),
        # `identity`: digests are of the bytes as they are stored.
        headers={
            "Accept-Encoding": "identity",
            "User-Agent": f"hubsync/{__version__}",
        },
    )


class Courier:
    """Sends the GETs of one run: no host is asked more than it can bear."""

    def __init__(
        self,
        session: Session,
        options: TransferOptions,
        budget: Budget | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._session, self._options = session, options
        self._budget: Budget = budget or Gates(options, note=note)
        self._breaker = Breaker(options, note=note)
        self.requests = 0  # redirect hops are requests too: the hub counts them

    @property
    def quiet_until(self) -> float:
        """Loop time until which nothing arrives because we do not ask."""
        return max(self._budget.quiet_until, self._breaker.quiet_until)

    async def get(
        self, source: Source, more: Mapping[str, str], via: str | None = None
    ) -> Reply:
        """GET *source*, with its credentials on its own origin and nowhere else.

        Args:
            source: where the hub has it.
            more: headers that go along on every hop, such as ``Range``.
            via: the `Reply.url` of an earlier answer, to be asked directly.

        Raises:
            RetryLaterError: no answer.
            RedirectError: a loop, too many hops, or from https to http.
            EgressError: a redirect into a private network.
            UnavailableError: the host is down, limits us for too long, or cannot
                prove who it is.
        """
        # encoded=True: a signed query must arrive as it was signed, byte for byte.
        home = URL(source.url, encoded=True)
        near = await self._is_near(home)
        url = home if via is None else URL(via, encoded=True)
        listed: Mapping[str, str] = {}
        for hop in range(self._options.redirects_max + 1):
            at_home = _origin(url) == _origin(home)
            headers = {**(source.headers if at_home else {}), **more}
            response = await self._send(url, headers, near=near)
            if at_home and "X-Linked-Etag" in response.headers:
                listed = response.headers
            if response.status not in _REDIRECTS:
                # What an address gave that was learnt before says nothing of the
                # file: it may have expired, also on the hub's own host.
                asked_hub = via is None or via == source.url
                from_hub = at_home and asked_hub
                return Reply(response, hop + 1, from_hub, str(url), listed)
            location = response.headers.get("Location", "")
            await _read_note(response)
            url = _target(url, location)
        raise RedirectError(
            f"{home.host} sends us round in circles: more than "
            f"{self._options.redirects_max} redirects for {home.path}"
        )

    async def _is_near(self, home: URL) -> bool:
        known = self._session.known_near(home)
        if known is not None:
            return known
        async with self._attempt(name_of(home)):
            return await self._session.is_near(home)

    async def _send(
        self, url: URL, headers: Mapping[str, str], *, near: bool
    ) -> aiohttp.ClientResponse:
        host, kind = name_of(url), kind_of(url.raw_path)
        await self._budget.passed(host, kind)
        async with self._attempt(host) as attempt:
            # Once more: while we waited for the host, somebody may have been told.
            await self._budget.passed(host, kind)
            self.requests += 1
            response = await self._session.get(url, headers, near=near)
            attempt.status = response.status
            attempt.answered = not is_trouble(response.status)
            attempt.why = f"it answered {response.status}"
        lower = {name.lower(): value for name, value in response.headers.items()}
        self._budget.answered(host, kind, response.status, lower)
        return response

    @asynccontextmanager
    async def _attempt(self, host: str) -> AsyncIterator[Attempt]:
        """Ask *host* when it may be asked; say in plain words why it failed."""
        async with self._breaker.attempt(host) as attempt:
            try:
                yield attempt
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if final := final_error(host, error):
                    raise final from error
                attempt.answered, attempt.why = False, reason(error)
                raise RetryLaterError(f"{host}: {attempt.why}") from error


def name_of(url: URL) -> str:
    """Host, and port unless it is the usual one; never user and password."""
    return (url.host_port_subcomponent or "").lower()


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port  # in lower case, unlike `URL.origin`


def kind_of(raw_path: str) -> str:
    """What a hub may count apart: files, and everything else of its API."""
    if raw_path.startswith("/api/resolve-cache/"):
        return "resolve-cache"
    return "api" if raw_path.startswith("/api/") else "files"


def is_trouble(status: int) -> bool:
    """Whether the host, and not the request, is to blame."""
    return status >= _SERVER_ERROR or status in (408, 425)


async def _read_note(response: aiohttp.ClientResponse) -> None:
    """Read "Found. Redirecting to …" to its end: the connection is good then."""
    async with response:
        length = response.content_length
        if length is not None and length <= _NOTE_BYTES_MAX:
            try:
                await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise RetryLaterError(
                    f"{name_of(response.url)}: {reason(error)}"
                ) from error


def _target(url: URL, location: str) -> URL:
    sane = location.isascii() and location.isprintable() and " " not in location
    target, host = URL(), None
    with suppress(ValueError):
        target = url.join(URL(location if sane else "", encoded=True))
        host = target.host
    # "%31" in a host is 1 for some and not for others; in an address with colons
    # it names an interface.
    sane = sane and host is not None and ("%" not in host or ":" in host)
    if not location or not sane or target.scheme not in ("http", "https"):
        raise RedirectError(f"{url.host} redirects to nowhere: {location[:120]!r}")
    if url.scheme == "https" and target.scheme == "http":
        raise RedirectError(f"{url.host} redirects from https to http at {host}")
    if target.user or target.password:
        raise RedirectError(f"{url.host} redirects to {host} with a name to log in")
    return target
