"""Finding out who sends a request: one way for each ``serve.auth``."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from hubsync.catalog.tokens import TokenRow
from hubsync.model.token import digest_of, is_token
from hubsync.serve.asking import AskedGate
from hubsync.serve.credentials import credential_of, wrong_token
from hubsync.serve.errors import unauthorized
from hubsync.serve.library import Library
from hubsync.serve.readers import ANYBODY, FullReader, HubReader, Reader, TokenReader
from hubsync.serve.redact import redacted
from hubsync.serve.remembered import Remembered
from hubsync.serve.trust import Network, is_trusted

TOKENS_KEPT = 10_000
KEPT_S = 2.0  # with PostgreSQL: so long a revoked token may still be taken
_USER_CHARS_MAX = 256


class Door(Protocol):
    """Knows one way to tell who it is."""

    async def reader(self, request: web.Request) -> Reader:
        """Whoever sent *request*.

        Raises:
            Problem: 401; nobody may come in like that.
        """


class OpenDoor:
    """``open``: nobody is asked."""

    async def reader(self, request: web.Request) -> Reader:
        return ANYBODY


class TokenDoor:
    """``tokens``: those that ``hubsync token add`` has made."""

    def __init__(
        self,
        library: Library,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        kept: Remembered[TokenRow | bool] | None = None,
    ) -> None:
        self._library, self._now = library, now
        self._kept = kept or Remembered[TokenRow | bool](TOKENS_KEPT)

    async def reader(self, request: web.Request) -> Reader:
        token = credential_of(request)
        if token is None:
            raise unauthorized()
        if not is_token(token):
            raise wrong_token()
        row = await self._find(digest_of(token))
        if row is None or not row.is_valid_at(self._now()):
            raise wrong_token()
        return TokenReader(row)

    async def holder(self, number: int) -> TokenReader | None:
        """The holder of token *number*, unless it was revoked or has expired."""
        row = await self._library.ask(self._library.catalog.get_token, number)
        if row is None or not row.is_valid_at(self._now()):
            return None
        return TokenReader(row)

    async def _find(self, digest: str) -> TokenRow | None:
        library = self._library
        if library.catalog.is_sqlite:  # ten microseconds: nothing to be kept
            return library.catalog.find_token(digest)
        kept = self._kept.get(digest)
        if kept is None:
            asked = self._kept.now()
            kept = await library.ask(library.catalog.find_token, digest) or False
            self._kept.put(digest, kept, until=asked + KEPT_S)
        return kept if isinstance(kept, TokenRow) else None


class ProxyDoor:
    """``proxy``: who it is says a server in front of us, and no one else."""

    def __init__(self, networks: tuple[Network, ...], header: str) -> None:
        self._networks, self._header = networks, header

    async def reader(self, request: web.Request) -> Reader:
        said = request.headers.getall(self._header, [])
        # Two of them: one came from the client, and who knows which.
        if len(said) != 1 or not is_trusted(request, self._networks):
            raise unauthorized()
        name = said[0].strip()
        if not name or len(name) > _USER_CHARS_MAX or not name.isprintable():
            raise unauthorized()
        return FullReader(redacted(name), is_verified=True)


class UpstreamDoor:
    """``pass-through``: everybody comes in; the upstream decides, repo by repo."""

    def __init__(self, gate: AskedGate) -> None:
        self._gate = gate

    async def reader(self, request: web.Request) -> Reader:
        return HubReader(self._gate, credential_of(request))
