"""One GET, redirects followed by our own hand, one hop at a time."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from yarl import URL

from hubsync import __version__
from hubsync.ports.hub import HubAnswerError, Source, UnavailableError
from hubsync.transfer.breaker import Breaker
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.guard import GuardedResolver
from hubsync.transfer.limiter import Gates
from hubsync.transfer.options import TransferOptions

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
    good, and not from wherever that sent us.
    """

    response: aiohttp.ClientResponse
    hops: int
    from_hub: bool
    url: str

    @property
    def host(self) -> str:
        return self.response.url.authority


class Session:
    """An HTTP session that keeps nothing from one request to the next."""

    def __init__(
        self, options: TransferOptions, resolver: GuardedResolver | None = None
    ) -> None:
        self.guard = resolver or GuardedResolver()
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=0, resolver=self.guard, ttl_dns_cache=60
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,  # proxies
            read_bufsize=options.block_bytes,
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

    async def close(self) -> None:
        await self.http.close()


class Courier:
    """Sends the GETs of one run: no host is asked more than it can bear."""

    def __init__(self, session: Session, options: TransferOptions) -> None:
        self._session, self._options = session, options
        self._gates, self._breaker = Gates(options), Breaker(options)
        self.requests = 0  # redirect hops are requests too: the hub counts them

    @property
    def quiet_until(self) -> float:
        """Loop time until which nothing arrives because we do not ask."""
        return max(self._gates.quiet_until, self._breaker.quiet_until)

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
        if home.host:
            await self._session.guard.trust(home.host, home.port or 443)
        url = home if via is None else URL(via, encoded=True)
        for hop in range(self._options.redirects_max + 1):
            at_home = url.origin() == home.origin()
            headers = {**(source.headers if at_home else {}), **more}
            response = await self._send(url, headers)
            if response.status not in _REDIRECTS:
                return Reply(response, hop + 1, at_home, str(url))
            location = response.headers.get("Location", "")
            await _read_note(response)
            url = _target(url, location)
        raise RedirectError(
            f"{home.host} sends us round in circles: more than "
            f"{self._options.redirects_max} redirects for {home.path}"
        )

    async def _send(
        self, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        assert url.host, "checked where it came from"
        self._session.guard.check_literal(url.host)
        host, kind = url.authority, kind_of(url.raw_path)
        await self._gates.passed(host, kind)
        async with self._breaker.attempt(host) as attempt:
            self.requests += 1
            try:
                response = await self._session.http.get(
                    url, headers=headers, allow_redirects=False
                )
            except aiohttp.ClientConnectorCertificateError as error:
                raise UnavailableError(
                    f"{error.host} cannot prove who it is: {error.certificate_error}",
                    hint="If a proxy with its own certificate is in between, point "
                    "SSL_CERT_FILE to that certificate.",
                ) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                attempt.answered, attempt.why = False, reason(error)
                raise RetryLaterError(f"{host}: {attempt.why}") from error
            attempt.answered = not is_trouble(response.status)
            attempt.why = f"it answered {response.status}"
        lower = {name.lower(): value for name, value in response.headers.items()}
        self._gates.saw(host, kind, response.status, lower)
        return response


def kind_of(raw_path: str) -> str:
    """What a hub may count apart: files, and everything else of its API."""
    if raw_path.startswith("/api/resolve-cache/"):
        return "resolve-cache"
    return "api" if raw_path.startswith("/api/") else "files"


def is_trouble(status: int) -> bool:
    """Whether the host, and not the request, is to blame."""
    return status >= _SERVER_ERROR or status in (408, 425)


def reason(error: BaseException) -> str:
    """Why there was no answer, in plain words."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name cannot be resolved ({error.os_error.strerror})"
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return f"no answer in time ({error})" if str(error) else "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"no encrypted connection ({error.os_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or error.os_error})"
    return f"no answer: {str(error) or type(error).__name__}"


async def _read_note(response: aiohttp.ClientResponse) -> None:
    """Read "Found. Redirecting to …" to its end: the connection is good then."""
    async with response:
        length = response.content_length
        if length is not None and length <= _NOTE_BYTES_MAX:
            try:
                await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise RetryLaterError(
                    f"{response.url.authority}: {reason(error)}"
                ) from error


def _target(url: URL, location: str) -> URL:
    sane = location.isascii() and location.isprintable() and " " not in location
    target, host = URL(), None
    with suppress(ValueError):
        target = url.join(URL(location if sane else "", encoded=True))
        host = target.host
    if not location or not sane or not host or target.scheme not in ("http", "https"):
        raise RedirectError(f"{url.host} redirects to nowhere: {location[:120]!r}")
    if url.scheme == "https" and target.scheme == "http":
        raise RedirectError(f"{url.host} redirects from https to http at {host}")
    return target
