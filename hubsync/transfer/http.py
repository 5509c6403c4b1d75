"""One GET, redirects followed by our own hand, one hop at a time."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from yarl import URL

from hubsync import __version__
from hubsync.ports.hub import HubAnswerError, Source
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.options import TransferOptions

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FIELD_BYTES_MAX = 64 * 1024  # signed addresses in Location are long
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

    @property
    def host(self) -> str:
        return self.response.url.authority

    @property
    def url(self) -> str:
        """The address that answered in the end."""
        return str(self.response.url)


class Courier:
    """Sends GETs for one run."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        options: TransferOptions,
        note: Callable[[str], None],
    ) -> None:
        self._session, self._options, self._note = session, options, note
        self.requests = 0
        self.quiet_until = 0.0

    async def get(
        self, source: Source, more: Mapping[str, str], via: str | None = None
    ) -> Reply:
        asked = source
        if via is not None:
            home = URL(via).origin() == URL(source.url).origin()
            asked = Source(via, source.headers if home else {})
        try:
            reply = await get(self._session, asked, more, self._options)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.requests += 1
            raise RetryLaterError(
                f"no answer: {error or type(error).__name__}"
            ) from error
        self.requests += reply.hops
        return reply


def new_session(options: TransferOptions) -> aiohttp.ClientSession:
    """A session that keeps nothing from one request to the next."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=0),
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


async def get(
    session: aiohttp.ClientSession,
    source: Source,
    more: Mapping[str, str],
    options: TransferOptions,
) -> Reply:
    """GET *source*, with its credentials on its own origin and nowhere else.

    Raises:
        RedirectError: a loop, too many hops, or from https to http.
        aiohttp.ClientError, TimeoutError: no answer.
    """
    # encoded=True: a signed query must arrive as it was signed, byte for byte.
    url = origin = URL(source.url, encoded=True)
    for hop in range(options.redirects_max + 1):
        at_home = url.origin() == origin.origin()
        headers = {**(source.headers if at_home else {}), **more}
        response = await session.get(url, headers=headers, allow_redirects=False)
        if response.status not in _REDIRECTS:
            return Reply(response, hop + 1, at_home)
        async with response:
            length = response.content_length
            if length is not None and length <= _NOTE_BYTES_MAX:
                # Read to the end, the connection is good for the next request.
                await response.read()
        url = _target(url, response.headers.get("Location", ""))
    raise RedirectError(
        f"{origin.host} sends us round in circles: more than "
        f"{options.redirects_max} redirects for {origin.path}"
    )


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
