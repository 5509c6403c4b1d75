"""Who asks: believing what a proxy says, if it is one of ours.

``X-Forwarded-For``, ``-Proto``, ``-Host`` and ``X-Request-Id`` are anybody's word
unless they come from `ServeOptions.trusted_proxies` or through our unix socket,
which only who is allowed to can open.  ``Forwarded`` (RFC 7239) is not read: no
proxy sends it unless told to, and two spellings of one truth can disagree.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import web

from hubsync.serve.options import ServeOptions
from hubsync.serve.trust import address_of, is_trusted, parse_networks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:=;/+-]{1,128}")
HOST = re.compile(r"(?:[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+):\d+")


@dataclass(frozen=True, slots=True)
class Caller:
    """The client behind a trusted proxy; None: the proxy does not say."""

    client: str
    scheme: str | None = None
    host: str | None = None
    request_id: str | None = None


CALLER = web.RequestKey("caller", Caller)  # set for what a trusted proxy brings


class Proxies:
    """Tells trusted proxies from everybody else.

    Raises:
        UsageError: a trusted proxy is neither an address nor a network.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._networks = parse_networks(options.trusted_proxies)
        self._all_are_local = options.unix_socket is not None
        self.trusts = lru_cache(4096)(self._trusts)

    def _trusts(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in one for one in self._networks)

    def caller(self, request: web.Request) -> Caller | None:
        """What a trusted proxy says of *request*; None: it comes from none."""
        if not self._all_are_local and not self._networks:
            return None
        if not is_trusted(request, self._networks):
            return None
        headers = request.headers
        said = ",".join(headers.getall("X-Forwarded-For", ()))
        scheme = _last(headers.get("X-Forwarded-Proto")).lower()
        host = _last(headers.get("X-Forwarded-Host"))
        request_id = headers.get("X-Request-Id", "")
        return Caller(
            client=self._client(request.remote or "", said),
            scheme=scheme if scheme in ("http", "https") else None,
            host=host if HOST.fullmatch(host) else None,
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
        )

    def _client(self, peer: str, said: str) -> str:
        """The last address that no trusted proxy has: those before it may be lies."""
        client = peer
        for text in reversed(said.split(",")) if said else ():
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client


def client_of(request: web.Request) -> str:
    """The address of who asks; empty: it is not known."""
    caller = request.get(CALLER)
    return caller.client if caller is not None else request.remote or ""


def from_trusted_proxy(request: web.Request) -> bool:
    """Whether what the request's headers say of the client may be believed."""
    return CALLER in request


def _address(text: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        return address_of(text)
    except ValueError:
        return None


def _last(header: str | None) -> str:
    """What the nearest proxy has said."""
    return (header or "").rpartition(",")[2].strip()
