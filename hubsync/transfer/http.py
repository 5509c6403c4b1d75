"""One GET, redirects followed by our own hand, one hop at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from hubsync import __version__
from hubsync.model.errors import ExitCode
from hubsync.ports.hub import HubError, Source
from hubsync.transfer.options import TransferOptions

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RedirectError(HubError):
    """A redirect that must not be followed."""

    exit_code = ExitCode.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Reply:
    """The final answer, and the hops it took.

    *from_hub*: it came from the source's own origin, where the credentials are
    good, and not from wherever that sent us.
    """

    response: aiohttp.ClientResponse
    hops: int
    from_hub: bool


def new_session(options: TransferOptions) -> aiohttp.ClientSession:
    """A session that keeps nothing from one request to the next."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=True,
        read_bufsize=options.block_bytes,
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
        location = response.headers.get("Location", "")
        response.release()
        url = _target(url, location)
    raise RedirectError(
        f"{origin.host} sends us round in circles: more than "
        f"{options.redirects_max} redirects for {origin.path}"
    )


def _target(url: URL, location: str) -> URL:
    nowhere = RedirectError(f"{url.host} redirects to nowhere: {location[:120]!r}")
    try:
        target = url.join(URL(location, encoded=True))
    except ValueError:
        raise nowhere from None
    if not location or not target.host or target.scheme not in ("http", "https"):
        raise nowhere
    if url.scheme == "https" and target.scheme == "http":
        raise RedirectError(f"{url.host} redirects from https to http at {target.host}")
    return target
