"""Every catalog test runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.catalog import schema
from hubsync.catalog.catalog import Catalog, sqlite_url
from tests.postgres import require_server


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("catalog") / "empty.db"
    schema.upgrade(sqlite_url(path))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(
    request: pytest.FixtureRequest, tmp_path: Path, empty_sqlite: Path
) -> Iterator[str]:
    """The URL of an empty catalog of the newest schema."""
    if request.param == "sqlite":
        path = tmp_path / "catalog.db"
        shutil.copyfile(empty_sqlite, path)
        yield sqlite_url(path)
        return
    server = require_server()
    with server.database(server.template("catalog", schema.upgrade)) as url:
        yield url


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    with Catalog.open(catalog_url) as opened:
        yield opened
