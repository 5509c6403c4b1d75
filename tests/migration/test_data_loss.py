"""SQLite changes a table by making it anew; no row may be lost on the way."""

import sqlite3
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, String, text

from hubsync.catalog import schema
from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.catalog.errors import SchemaError
from hubsync.catalog.session import make_engine
from tests.migration.test_schema import HEAD, NEXT, write_migration
from tests.unit.catalog.making import plain, publish


@pytest.fixture
def family(tmp_path: Path) -> CatalogAddress:
    """A parent with two children that go when it goes."""
    path = tmp_path / "family.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR);
        CREATE TABLE child (
            id INTEGER PRIMARY KEY,
            parent_id INTEGER REFERENCES parent (id) ON DELETE CASCADE
        );
        INSERT INTO parent VALUES (1, 'p');
        INSERT INTO child VALUES (1, 1), (2, 1);
        """
    )
    connection.close()
    return CatalogAddress.parse(sqlite_url(path))


def rebuild_parent(connection: Connection) -> int:
    """Change a column in batch mode; the children that are left."""
    operations = Operations(MigrationContext.configure(connection))
    with operations.batch_alter_table("parent") as batch:
        batch.alter_column("name", existing_type=String(), nullable=False)
    return connection.scalar(text("SELECT count(*) FROM child")) or 0


def test_the_trap_is_real(family: CatalogAddress) -> None:
    """With foreign keys on, making the parent anew empties the child."""
    engine = make_engine(family, foreign_keys=True)
    with engine.begin() as connection:
        assert rebuild_parent(connection) == 0
    engine.dispose()


def test_a_migration_does_not_fall_into_it(family: CatalogAddress) -> None:
    with schema.upgrading(family) as connection:
        assert rebuild_parent(connection) == 2


def test_a_rebuilt_table_keeps_every_row_that_points_to_it(
    tmp_path: Path, next_release: Path
) -> None:
    url = sqlite_url(tmp_path / "catalog.db")
    schema.upgrade(url)
    write_migration(
        next_release,
        'kept = {"sqlite_autoincrement": True}\n'
        '    with op.batch_alter_table("repos", table_kwargs=kept) as batch:\n'
        '        batch.alter_column("card", existing_type=sa.Text(), nullable=True)',
    )
    with pytest.MonkeyPatch.context() as today:
        today.setattr(schema, "require_head", lambda *_: None)
        with Catalog.open(url) as catalog:
            published = publish(catalog, 1, [plain("a", b"1")], alias="old/name")
    schema.upgrade(url)
    with Catalog.open(url) as catalog:
        assert catalog.repos() == [published.repo]
        assert catalog.snapshots(published.repo) == [published.snapshot]
        assert len(catalog.entries(published.snapshot)) == 1
        # Still numbered on, never anew, after the table was made again.
        catalog.forget(published.repo, None)
        assert publish(catalog, 1).repo.id > published.repo.id


def test_a_migration_that_orphans_rows_is_undone(
    tmp_path: Path, next_release: Path
) -> None:
    url = sqlite_url(tmp_path / "catalog.db")
    with pytest.MonkeyPatch.context() as today:
        today.setattr(schema, "require_head", lambda *_: None)
        with Catalog.open(url) as catalog:
            published = publish(catalog, 1, [plain("a", b"1")])
    write_migration(next_release, 'op.execute("DELETE FROM repos")')
    with pytest.raises(SchemaError, match="point nowhere"):
        schema.upgrade(url)
    assert schema.current(url) == HEAD
    (next_release / f"{NEXT}_next.py").unlink()
    with Catalog.open(url) as catalog:
        assert catalog.repos() == [published.repo]
