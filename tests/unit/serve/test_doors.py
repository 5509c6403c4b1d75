"""Tokens in PostgreSQL: asking takes long, so an answer is kept for two seconds."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.tokens import TokenGrant
from hubsync.model.token import digest_of, new_token
from hubsync.serve.doors import KEPT_S, TokenDoor
from hubsync.serve.errors import Problem
from hubsync.serve.library import Library
from hubsync.serve.remembered import Remembered
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from tests.postgres import require_server
from tests.unit.serve.tenants import bearer


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    blobs = LocalBlobs(StoreRoot.open(tmp_path / "store", create=True))
    with require_server().database() as url, Catalog.open(url) as catalog:
        yield Library(catalog, blobs)


def test_a_revoked_token_is_refused_within_two_seconds(library: Library) -> None:
    clock, now = [0.0], datetime.now(UTC)
    door = TokenDoor(library, lambda: now, Remembered(10, lambda: clock[0]))
    token, other = new_token(), new_token()
    ends = now + timedelta(hours=1)
    library.catalog.add_token("ci", digest_of(token), TokenGrant(expires_at=ends))

    def enter(shown: str) -> bool:
        request = make_mocked_request("GET", "/", headers=bearer(shown))
        try:
            return asyncio.run(door.reader(request)).is_verified
        except Problem:
            return False

    assert enter(token)
    assert not enter(other)
    library.catalog.revoke_token("ci")
    library.catalog.add_token("new", digest_of(other), TokenGrant())
    clock[0] = KEPT_S - 0.01
    assert enter(token)
    assert not enter(other)
    clock[0] = KEPT_S
    assert not enter(token)
    assert enter(other)


def test_an_expired_token_is_refused_at_once(library: Library) -> None:
    now = [datetime.now(UTC)]
    door = TokenDoor(library, lambda: now[0])
    token = new_token()
    ends = now[0] + timedelta(seconds=1)
    library.catalog.add_token("ci", digest_of(token), TokenGrant(expires_at=ends))
    request = make_mocked_request("GET", "/", headers=bearer(token))
    assert asyncio.run(door.reader(request)).name == "ci"
    now[0] = ends
    with pytest.raises(Problem):
        asyncio.run(door.reader(request))
