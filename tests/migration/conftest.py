"""Migrations run on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.catalog import schema
from hubsync.catalog.catalog import sqlite_url
from tests.postgres import require_server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "catalog.db")
        return
    with require_server().database() as url:
        yield url


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for the migrations of a release that is to come."""
    copy = tmp_path / "migrations"
    shutil.copytree(schema.migrations_dir(), copy)
    monkeypatch.setattr(schema, "migrations_dir", lambda: copy)
    return copy / "versions"
