"""Tokens of the mirror's readers.  Only their digests are kept."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from hubsync.catalog.columns import as_utc
from hubsync.catalog.session import Row, Session
from hubsync.catalog.tables import tokens
from hubsync.model.errors import UsageError

_LOOKUP_CHARS = 16  # of 64: enough to find one row among any number
_COLUMNS = (
    "id, name, repos, created_at, expires_at, rate_bytes_per_s, requests_per_minute"
)
_BY_LOOKUP = f"SELECT {_COLUMNS}, sha256 FROM tokens WHERE lookup = ?"  # noqa: S608 - constants
_BY_ID = f"SELECT {_COLUMNS} FROM tokens WHERE id = ?"  # noqa: S608 - constants
_ALL = f"SELECT {_COLUMNS} FROM tokens ORDER BY name"  # noqa: S608 - constants


class TokenExistsError(UsageError):
    """There is a token of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a token named {name!r} already",
            hint=f"Choose another name, or first: hubsync token revoke {name}",
        )


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What the holder of a token may do.

    *repos*: globs of `model.globs`.  None: for good, or without a limit.
    """

    repos: tuple[str, ...] = ("*",)
    expires_at: datetime | None = None
    rate_bytes_per_s: int | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that was handed out; expired ones are rows, too."""

    id: int
    name: str
    created_at: datetime
    grant: TokenGrant

    def is_valid_at(self, now: datetime) -> bool:
        return self.grant.expires_at is None or now < self.grant.expires_at


def add(
    connection: Connection, name: str, sha256: str, grant: TokenGrant, now: datetime
) -> None:
    """Raises: TokenExistsError."""
    named = select(tokens.c.id).where(tokens.c.name == name)
    if connection.scalar(named) is not None:
        raise TokenExistsError(name)
    connection.execute(
        tokens.insert().values(
            name=name,
            lookup=sha256[:_LOOKUP_CHARS],
            sha256=sha256,
            repos=list(grant.repos),
            created_at=now,
            expires_at=grant.expires_at,
            rate_bytes_per_s=grant.rate_bytes_per_s,
            requests_per_minute=grant.requests_per_minute,
        )
    )


def revoke(connection: Connection, name: str) -> bool:
    """Whether there was one of that name."""
    mine = tokens.delete().where(tokens.c.name == name)
    return bool(connection.execute(mine).rowcount)


def list_tokens(session: Session) -> Sequence[TokenRow]:
    """By name."""
    return session.made(_row, _ALL)


def find(session: Session, sha256: str) -> TokenRow | None:
    """The token with this digest, expired or not."""
    for row in session.rows(_BY_LOOKUP, sha256[:_LOOKUP_CHARS]):
        if hmac.compare_digest(str(row[-1]), sha256):
            return _row(row)
    return None


def get(session: Session, number: int) -> TokenRow | None:
    """The token of that number; no other one ever gets it."""
    return next(iter(session.made(_row, _BY_ID, number)), None)


def _row(row: Row) -> TokenRow:
    number, name, repos, created, expires, rate, requests = row[:7]
    grant = TokenGrant(
        tuple(json.loads(repos)),
        None if expires is None else as_utc(expires),
        rate,
        requests,
    )
    return TokenRow(number, name, as_utc(created), grant)
